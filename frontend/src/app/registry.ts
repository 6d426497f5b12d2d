/** Every page there is, collected from `features/<noun>/page.ts`; navigation, routes and palette are made from it. */

import type { Schemas } from "@/api/client";
import { type Page, SECTIONS, type Section } from "@/lib/page";
import { isReachable } from "@/lib/session";

const modules = import.meta.glob<{ pages: Page[] }>("../features/*/page.ts", { eager: true });

export const PAGES: readonly Page[] = Object.values(modules)
  .flatMap((module) => module.pages)
  .sort((one, other) => SECTIONS.indexOf(one.section) - SECTIONS.indexOf(other.section) || one.order - other.order);

export interface NavigationSection {
  section: Section;
  pages: Page[];
}

type Rights = Pick<Schemas["Bootstrap"], "permissions" | "offers">;

export function reachablePages(rights: Rights, pages: readonly Page[] = PAGES): Page[] {
  return pages.filter((page) => isReachable(page, rights));
}

export function navigation(rights: Rights, pages: readonly Page[] = PAGES): NavigationSection[] {
  const shown = reachablePages(rights, pages).filter((page) => !page.isHidden);
  return SECTIONS.map((section) => ({ section, pages: shown.filter((page) => page.section === section) })).filter(
    (found) => found.pages.length > 0,
  );
}
