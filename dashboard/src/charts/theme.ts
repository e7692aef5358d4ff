/** Light or dark, by the reader's system until the reader chooses; colours live in the style sheet alone. */

import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";

export type Theme = "light" | "dark";
export const ThemeContext = createContext<Theme>("light");
export const useTheme = (): Theme => useContext(ThemeContext);

/** Return the present theme and what changes it. */
export function useThemeChoice(): [Theme, () => void] {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const [chosen, choose] = useState<Theme | null>(null);
  const [isDark, follow] = useState(system.matches);
  useEffect(() => {
    const listen = (event: MediaQueryListEvent): void => follow(event.matches);
    system.addEventListener("change", listen);
    return () => system.removeEventListener("change", listen);
  }, []);
  const theme = chosen ?? (isDark ? "dark" : "light");
  document.documentElement.dataset["theme"] = theme;
  return [theme, () => choose(theme === "dark" ? "light" : "dark")];
}

/** Return a colour of the style sheet, for a canvas. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
