import { Users } from "lucide-react";
import type { Page } from "@/lib/page";

export const pages: Page[] = [
  {
    path: "/members",
    title: "Members",
    section: "Access",
    order: 30,
    icon: Users,
    permission: "users:view",
    offer: "users",
    words: "people users roles invite team service account",
    load: () => import("./MembersPage"),
  },
];
