import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [react()],
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  test: {
    environment: "jsdom",
    setupFiles: ["src/test/setup.ts"],
    // A busy machine is slow; a test that hangs is told apart all the same.
    testTimeout: 600_000,
    hookTimeout: 120_000,
    restoreMocks: true,
    css: false,
  },
});
