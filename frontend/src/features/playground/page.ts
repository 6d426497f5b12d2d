import { FlaskConical } from "lucide-react";
import type { Page } from "@/lib/page";

export const pages: Page[] = [
  {
    path: "/playground",
    title: "Playground",
    section: "",
    order: 10,
    icon: FlaskConical,
    permission: "gateway:use",
    offer: "keys",
    words: "chat try prompt compare stream model",
    load: () => import("./PlaygroundPage"),
  },
];
