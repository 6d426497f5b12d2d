import { Building2 } from "lucide-react";
import type { Page } from "@/lib/page";

export const pages: Page[] = [
  {
    path: "/tenants",
    title: "Tenants",
    section: "Access",
    order: 50,
    icon: Building2,
    permission: "tenants:view",
    offer: "tenants",
    words: "organisation customer suspend resume logging policy second factor",
    load: () => import("./TenantsPage"),
  },
];
