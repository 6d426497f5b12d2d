import { Boxes, Server } from "lucide-react";
import type { Page } from "@/lib/page";

export const pages: Page[] = [
  {
    path: "/models",
    title: "Models & prices",
    section: "Gateway",
    order: 10,
    icon: Boxes,
    permission: "catalog:view",
    offer: "catalog",
    words: "alias price token cost catalog unpriced",
    load: () => import("./ModelsPage"),
  },
  {
    path: "/providers",
    title: "Providers",
    section: "Gateway",
    order: 20,
    icon: Server,
    permission: "catalog:view",
    offer: "catalog",
    words: "openai anthropic azure bedrock gemini vertex credential breaker health outage",
    load: () => import("./ProvidersPage"),
  },
];
