import { House } from "lucide-react";
import type { Page } from "@/lib/page";

export const pages: Page[] = [
  {
    path: "/",
    title: "Overview",
    section: "",
    order: 0,
    icon: House,
    words: "home start dashboard",
    load: () => import("./HomePage"),
  },
];
