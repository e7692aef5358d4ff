import { defineConfig, type Plugin } from "vite";

import { inlined } from "./inline.ts";

/** Leaves one file of each page: nothing beside it is asked for when it is opened. */
function singleFile(): Plugin {
  return {
    name: "single-file",
    enforce: "post",
    generateBundle(_, bundle) {
      const scripts: string[] = [];
      const styles: string[] = [];
      for (const [name, part] of Object.entries(bundle)) {
        if (part.type === "chunk") scripts.push(part.code);
        else if (name.endsWith(".css")) styles.push(String(part.source));
        else continue;
        delete bundle[name];
      }
      for (const part of Object.values(bundle)) {
        if (part.type === "asset" && part.fileName.endsWith(".html")) {
          part.source = inlined({ html: String(part.source), scripts, styles });
        }
      }
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [singleFile()],
  build: {
    target: "es2022",
    outDir: "../src/market_maker/dashboard/built",
    emptyOutDir: true,
    modulePreload: false,
    rollupOptions: { input: "report.html", output: { format: "iife" } },
  },
});
