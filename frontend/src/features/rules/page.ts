import { Gauge, Wallet } from "lucide-react";
import type { Page } from "@/lib/page";

export const pages: Page[] = [
  {
    path: "/budgets",
    title: "Budgets",
    section: "Money",
    order: 10,
    icon: Wallet,
    permission: "budgets:view",
    offer: "budgets",
    words: "money spend limit burn forecast hold hard soft",
    load: () => import("./BudgetsPage"),
  },
  {
    path: "/limits",
    title: "Limits",
    section: "Gateway",
    order: 50,
    icon: Gauge,
    permission: "limits:view",
    offer: "limits",
    words: "rate requests tokens parallel rpm tpm throttle 429",
    load: () => import("./LimitsPage"),
  },
];
