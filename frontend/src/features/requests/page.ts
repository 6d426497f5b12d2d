import { Logs } from "lucide-react";
import type { Page } from "@/lib/page";

export const pages: Page[] = [
  {
    path: "/requests",
    title: "Requests",
    section: "Observe",
    order: 10,
    icon: Logs,
    permission: "requests:view",
    offer: "requests",
    words: "calls log live tail error latency trace",
    load: () => import("./RequestsPage"),
  },
];
