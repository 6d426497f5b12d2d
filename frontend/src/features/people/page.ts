import { Building2, Network, ShieldCheck } from "lucide-react";
import type { Page } from "@/lib/page";

export const pages: Page[] = [
  {
    path: "/teams",
    title: "Teams and projects",
    section: "Access",
    order: 20,
    icon: Network,
    permission: ["teams:view", "projects:view"],
    offer: "teams",
    words: "group department application member maintainer",
    load: () => import("./TeamsPage"),
  },
  {
    path: "/roles",
    title: "Roles",
    section: "Access",
    order: 40,
    icon: ShieldCheck,
    permission: "roles:view",
    offer: "roles",
    words: "permissions rights matrix who may what",
    load: () => import("./RolesPage"),
  },
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
