/** Canvases that are drawn at most once a frame, at the screen's own resolution. */

import { useEffect, useRef } from "preact/hooks";

import { colour, useTheme } from "../charts/theme";

export interface Pen {
  context: CanvasRenderingContext2D;
  width: number;
  height: number;
  colour: (name: string) => string;
}
const FONT = '11px ui-sans-serif, system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';

/** Return what to give a canvas as ref, and a function that asks for it to be drawn again. */
export function useCanvas(draw: (pen: Pen) => void): [{ current: HTMLCanvasElement | null }, () => void] {
  const canvas = useRef<HTMLCanvasElement>(null);
  const drawing = useRef(draw);
  drawing.current = draw;
  const asked = useRef(0);
  // Told by the observer: to ask the element in the middle of a frame would make the browser lay out the page for it.
  const size = useRef({ width: 0, height: 0 });
  const theme = useTheme();
  const colours = useRef(new Map<string, string>());
  const again = useRef(() => {
    asked.current ||= requestAnimationFrame(() => {
      asked.current = 0;
      const element = canvas.current;
      if (!element) return;
      const { width, height } = size.current;
      const ratio = devicePixelRatio || 1;
      if (width === 0 || height === 0) return;
      if (element.width !== Math.round(width * ratio) || element.height !== Math.round(height * ratio)) {
        element.width = Math.round(width * ratio);
        element.height = Math.round(height * ratio);
      }
      const context = element.getContext("2d")!;
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, width, height);
      context.font = FONT;
      drawing.current({
        context,
        width,
        height,
        colour: (name) => {
          const known = colours.current.get(name) ?? colour(name);
          colours.current.set(name, known);
          return known;
        },
      });
    });
  });
  useEffect(() => {
    colours.current.clear();
    again.current();
  }, [theme]);
  useEffect(() => {
    const watch = new ResizeObserver(([entry]) => {
      size.current = { width: entry!.contentRect.width, height: entry!.contentRect.height };
      again.current();
    });
    watch.observe(canvas.current!);
    return () => {
      watch.disconnect();
      cancelAnimationFrame(asked.current);
      asked.current = 0;
    };
  }, []);
  useEffect(() => again.current());
  return [canvas, again.current];
}
