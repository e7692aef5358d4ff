/** Lines over time that zoom together: drag to zoom, Ctrl and wheel, buttons, double click for the whole. */

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

import type { Line } from "../report/data";
import { instant, instants } from "../report/format";
import { colour, useTheme } from "./theme";

export interface Series {
  label: string;
  line: Line;
  /** Name of a colour of the style sheet. */
  colour: string;
  isStep?: boolean;
  isFilled?: boolean;
  dash?: number[];
}

export interface Props {
  title: string;
  series: Series[];
  height: number;
  /** [from, to] in seconds, of all charts that zoom together. */
  range: [number, number];
  /** Charts of one name zoom together. */
  group: string;
  format: (value: number) => string;
  /** Draws over the lines. */
  draw?: (plot: uPlot) => void;
  /** Told of the place of the cursor; null when it has left. */
  onCursor?: (plot: uPlot) => void;
  /** Whether 0 is always seen. */
  withZero?: boolean;
}

const groups = new Map<string, Set<uPlot>>();
const WHEEL_STEP = 0.8;

/** Zoom all charts of a group by a factor around a share of the width; the whole for a factor of 0. */
export function zoomGroup(group: string, factor: number, at = 0.5): void {
  const [first] = groups.get(group) ?? [];
  if (first) zoom(first, factor, at, ranges.get(first)!);
}

const ranges = new WeakMap<uPlot, [number, number]>();

function zoom(plot: uPlot, factor: number, at: number, [from, to]: [number, number]): void {
  const { min = from, max = to } = plot.scales["x"] as { min?: number; max?: number };
  if (factor === 0) {
    plot.setScale("x", { min: from, max: to });
    return;
  }
  const middle = min + (max - min) * at;
  const low = Math.max(from, middle - (middle - min) * factor);
  const high = Math.min(to, middle + (max - middle) * factor);
  if (high - low > 1e-4) plot.setScale("x", { min: low, max: high });
}

export function TimeChart(props: Props) {
  const theme = useTheme();
  const holder = useRef<HTMLDivElement>(null);
  const drawn = useRef(props.draw);
  drawn.current = props.draw;
  const cursor = useRef(props.onCursor);
  cursor.current = props.onCursor;
  useEffect(() => {
    const element = holder.current!;
    const plot = new uPlot(options(props, element.clientWidth, drawn, cursor), dataOf(props.series), element);
    ranges.set(plot, props.range);
    const members = groups.get(props.group) ?? new Set();
    groups.set(props.group, members.add(plot));
    const wheel = (event: WheelEvent): void => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const { left, width } = plot.over.getBoundingClientRect();
      const at = Math.min(1, Math.max(0, (event.clientX - left) / width));
      zoom(plot, event.deltaY < 0 ? WHEEL_STEP : 1 / WHEEL_STEP, at, props.range);
    };
    plot.over.addEventListener("wheel", wheel, { passive: false });
    plot.over.addEventListener("dblclick", () => zoom(plot, 0, 0.5, props.range));
    const watch = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: props.height }));
    watch.observe(element);
    return () => {
      watch.disconnect();
      members.delete(plot);
      plot.destroy();
    };
  }, [theme, props.series, props.height, props.group]);
  return <div class="chart" ref={holder} role="img" aria-label={props.title} style={{ minHeight: `${props.height}px` }} />;
}

function dataOf(series: Series[]): uPlot.AlignedData {
  if (series.length === 1) return [series[0]!.line.time, series[0]!.line.values];
  return uPlot.join(series.map(({ line }): uPlot.AlignedData => [line.time, line.values]));
}

function options(
  props: Props,
  width: number,
  draw: { current: Props["draw"] },
  cursor: { current: Props["onCursor"] },
): uPlot.Options {
  const axis: uPlot.Axis = {
    stroke: colour("muted"),
    grid: { stroke: colour("grid"), width: 1 },
    ticks: { stroke: colour("grid"), width: 1, size: 4 },
    font: "11px system-ui, sans-serif",
  };
  return {
    width,
    height: props.height,
    ms: 1e-3,
    tzDate: (ts) => uPlot.tzDate(new Date(ts * 1000), "Etc/UTC"),
    padding: [8, 30, 0, 0],
    legend: { show: true, live: true },
    cursor: { drag: { x: true, y: false }, sync: { key: props.group, setSeries: false }, points: { size: 6 } },
    scales: {
      x: { time: true, range: (_, min, max) => (min === null || min === max ? props.range : [min, max]), min: props.range[0], max: props.range[1] },
      y: {
        range: (_, min, max) => {
          if (min === null || max === null) return [0, 1];
          const [low, high] = props.withZero ? [Math.min(0, min), Math.max(0, max)] : [min, max];
          const room = (high - low || Math.abs(high) || 1) * 0.08;
          return [low === 0 && props.withZero ? 0 : low - room, high === 0 && props.withZero ? 0 : high + room];
        },
      },
    },
    axes: [
      { ...axis, space: 80, size: 40, values: (_, splits, __, ___, step) => instants(splits, step) },
      { ...axis, size: 74, values: (_, splits) => splits.map(props.format) },
    ],
    series: [
      { label: "UTC", value: (_, value) => (value === null ? "–" : instant(value, 3)) },
      ...props.series.map(
        (each): uPlot.Series => ({
          label: each.label,
          stroke: colour(each.colour),
          width: 1.5,
          ...(each.isFilled ? { fill: `${colour(each.colour)}26`, fillTo: 0 } : {}),
          ...(each.dash ? { dash: each.dash } : {}),
          ...(each.isStep ? { paths: uPlot.paths.stepped!({ align: 1 }) } : {}),
          points: { show: false },
          spanGaps: true,
          value: (_, value) => (value === null || value === undefined ? "–" : props.format(value)),
        }),
      ),
    ],
    hooks: {
      draw: [(plot) => draw.current?.(plot)],
      setCursor: [(plot) => cursor.current?.(plot)],
      setScale: [
        (plot, key) => {
          if (key !== "x") return;
          const { min, max } = plot.scales["x"]!;
          for (const other of groups.get(props.group) ?? []) {
            const theirs = other.scales["x"]!;
            if (other !== plot && (theirs.min !== min || theirs.max !== max)) {
              other.setScale("x", { min: min!, max: max! });
            }
          }
        },
      ],
    },
  };
}
