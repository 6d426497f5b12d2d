import "./app/trustedTypes";
import "@fontsource-variable/inter/wght.css";
import "@mantine/core/styles.css";
import "./ui/tokens.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App, makeQueryClient } from "./app/App";
import { makeRouter } from "./app/router";

const RELOADED = "tollkeeper.reloaded";
const AGAIN_MS = 60_000;

// A tab that was open over an upgrade asks for a script that is gone: once in a while, it starts anew.
addEventListener("vite:preloadError", (event) => {
  if (Date.now() - Number(sessionStorage.getItem(RELOADED)) < AGAIN_MS) return;
  sessionStorage.setItem(RELOADED, String(Date.now()));
  event.preventDefault();
  location.reload();
});

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <App router={makeRouter()} queries={makeQueryClient()} />
    </StrictMode>,
  );
}
