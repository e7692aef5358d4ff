/** Puts scripts and styles of a page into the page itself, so that one file opens without a server or a network. */

export interface Parts {
  html: string;
  scripts: string[];
  styles: string[];
}

/** Return a page with its parts inside: styles at the end of the head, scripts at the end of the body. */
export function inlined({ html, scripts, styles }: Parts): string {
  const bare = html
    .replace(/\s*<script[^>]*\bsrc=[^>]*><\/script>/g, "")
    .replace(/\s*<link[^>]*\brel="(?:stylesheet|modulepreload)"[^>]*>/g, "");
  // Functions, because a replacement text would give a meaning to `$&`.
  const style = styles.map((css) => `<style>${css.replaceAll("</style", "<\\/style")}</style>\n`).join("");
  const script = scripts.map((code) => `<script>${code.replaceAll("</script", "<\\/script")}</script>\n`).join("");
  return bare.replace("</head>", () => `${style}</head>`).replace("</body>", () => `${script}</body>`);
}
