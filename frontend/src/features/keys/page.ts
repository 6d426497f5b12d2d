import { KeyRound } from "lucide-react";
import type { Page } from "@/lib/page";

export const pages: Page[] = [
  {
    path: "/keys",
    title: "Keys",
    section: "Access",
    order: 10,
    icon: KeyRound,
    permission: "api_keys:view",
    offer: "keys",
    words: "api key secret token credential rotate revoke",
    load: () => import("./KeysPage"),
  },
];
