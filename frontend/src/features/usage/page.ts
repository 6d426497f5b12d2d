import { ChartColumn } from "lucide-react";
import type { Page } from "@/lib/page";

export const pages: Page[] = [
  {
    path: "/usage",
    title: "Usage & cost",
    section: "Observe",
    order: 20,
    icon: ChartColumn,
    permission: "usage:view",
    offer: "usage",
    words: "spend money tokens report export csv chargeback",
    load: () => import("./UsagePage"),
  },
];
