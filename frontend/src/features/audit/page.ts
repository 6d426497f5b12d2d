import { ScrollText } from "lucide-react";
import type { Page } from "@/lib/page";

export const pages: Page[] = [
  {
    path: "/audit",
    title: "Audit",
    section: "System",
    order: 10,
    icon: ScrollText,
    permission: "audit:view",
    offer: "audit",
    words: "trail log who changed what history chain",
    load: () => import("./AuditPage"),
  },
];
