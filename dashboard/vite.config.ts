import { defineConfig, type Plugin, type UserConfig } from "vite";

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

const OUT = "../src/market_maker/dashboard/built";

/** The report: one file, written first, so that it empties the folder. */
const report: UserConfig = {
  base: "./",
  logLevel: "warn",
  plugins: [singleFile()],
  build: {
    target: "es2022",
    outDir: OUT,
    emptyOutDir: true,
    modulePreload: false,
    rollupOptions: { input: "report.html", output: { format: "iife" } },
  },
};

/** The dashboard: parts whose names hold their hash, so that a browser keeps them until they change. */
const dashboard: UserConfig = {
  base: "./",
  logLevel: "warn",
  build: { target: "es2022", outDir: OUT, emptyOutDir: false, modulePreload: false, assetsInlineLimit: 0 },
  server: { proxy: { "/api": { target: "http://127.0.0.1:8000", ws: true }, "/metrics": "http://127.0.0.1:8000" } },
};

export default defineConfig(({ mode }) => (mode === "report" ? report : dashboard));
