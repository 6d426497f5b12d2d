import { ShieldAlert, ShieldCheck } from "lucide-react";
import type { Page } from "@/lib/page";

export const pages: Page[] = [
  {
    path: "/guardrails",
    title: "Guardrails",
    section: "Gateway",
    order: 40,
    icon: ShieldCheck,
    permission: "guardrails:view",
    offer: "guardrails",
    words: "pii secrets injection jailbreak redact block mask policy test",
    load: () => import("./GuardrailsPage"),
  },
  {
    path: "/guardrail-events",
    title: "Guardrail events",
    section: "Observe",
    order: 30,
    icon: ShieldAlert,
    permission: "guardrails:view",
    offer: "guardrails",
    words: "blocked redacted found hits",
    load: () => import("./EventsPage"),
  },
];
