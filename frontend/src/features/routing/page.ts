import { Route } from "lucide-react";
import type { Page } from "@/lib/page";

export const pages: Page[] = [
  {
    path: "/routing",
    title: "Routing",
    section: "Gateway",
    order: 30,
    icon: Route,
    permission: "catalog:view",
    offer: "route-policies",
    words: "fallback failover weighted latency canary sticky policy explain why",
    load: () => import("./RoutingPage"),
  },
];
