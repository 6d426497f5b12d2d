/** What a page says of itself. Every `features/<noun>/page.ts` exports `pages`; route, navigation and palette follow. */
import type { ComponentType, ReactNode } from "react";
import type { Schemas } from "@/api/client";

export type Permission = Schemas["Permission"];
export type Icon = ComponentType<{ size?: number | string; "aria-hidden"?: boolean }>;

/** In the order of the navigation. */
export const SECTIONS = ["", "Observe", "Gateway", "Access", "Money", "System"] as const;
export type Section = (typeof SECTIONS)[number];

export interface Page {
  /** Below `/console`; may hold parameters: `/keys/$keyId`. */
  path: `/${string}`;
  title: string;
  section: Section;
  /** Within the section, ascending. */
  order: number;
  icon: Icon;
  /** What the reader must hold; any one of several. None: everybody who is signed in. */
  permission?: Permission | Permission[];
  /** The noun of `/api/v1` the page lives on; a deployment without it does not show the page. */
  offer?: string;
  /** Further words the palette finds the page by. */
  words?: string;
  /** Reached by links alone. */
  isHidden?: boolean;
  load: () => Promise<{ default: () => ReactNode }>;
}
