/** The price with every fill on it: triangles up for buys, down for sells; hollow where the order took. */

import { useMemo, useState } from "preact/hooks";
import uPlot from "uplot";

import { fillsOf, midOf, type Fills, type Run } from "../report/data";
import { decimal, instant, words } from "../report/format";
import { nearest } from "../report/scales";
import { colour } from "./theme";
import { TimeChart } from "./time_chart";

const REACH = 14;

interface Props {
  run: Run;
  range: [number, number];
  group: string;
}

export function FillsChart({ run, range, group }: Props) {
  const fills = useMemo(() => fillsOf(run), [run]);
  const series = useMemo(
    () => [{ label: "mid", line: midOf(run, fills), colour: "mid", isStep: true }],
    [run, fills],
  );
  const [found, find] = useState(-1);
  const decimals = (run.pair.tick_size.split(".")[1] ?? "").length;
  const kept = fills.time.length;
  return (
    <div>
      <p class="legend">
        <Mark isBuy /> buy <Mark /> sell · filled: maker, hollow: taker.{" "}
        {kept < run.fills.count
          ? `${decimal(String(kept))} of ${decimal(String(run.fills.count))} fills are shown, evenly chosen.`
          : `All ${decimal(String(kept))} fills are shown.`}{" "}
        Point at one to read it.
      </p>
      <TimeChart
        title="Mid price with the fills of the run"
        series={series}
        height={340}
        range={range}
        group={group}
        format={(value) => decimal(String(value), decimals)}
        draw={(plot) => drawFills(plot, fills)}
        onCursor={(plot) => find(atCursor(plot, fills))}
      />
      <p class="readout" aria-live="polite">
        {found < 0 ? "\u00a0" : describe(run, fills, found, decimals)}
      </p>
    </div>
  );
}

function Mark({ isBuy = false }) {
  return (
    <svg width="11" height="10" aria-hidden="true" class={isBuy ? "buy" : "sell"}>
      <path d={isBuy ? "M5.5 0L11 10H0Z" : "M5.5 10L11 0H0Z"} fill="currentColor" />
    </svg>
  );
}

function describe(run: Run, fills: Fills, k: number, decimals: number): string {
  const side = fills.isBuy[k] ? "bought" : "sold";
  const quantity = decimal(String(Number(fills.quantity[k]!.toPrecision(12))));
  const cause = words(run.fills.causes[fills.cause[k]!] ?? "unknown");
  return (
    `${instant(fills.time[k]!, 6)} UTC · order ${fills.orderId[k]} ${side} ${quantity} at ` +
    `${decimal(String(fills.price[k]), decimals)} (mid ${decimal(String(fills.mid[k]), decimals + 1)}), ` +
    `${fills.isTaker[k] ? "taker" : "maker"}, ${cause}; position ${decimal(String(Number(fills.position[k]!.toPrecision(12))))}`
  );
}

function atCursor(plot: uPlot, fills: Fills): number {
  const { left = -1, top = -1 } = plot.cursor;
  const [x, y] = [plot.scales["x"]!, plot.scales["y"]!];
  if (left < 0 || top < 0 || x.min == null || x.max == null || y.min == null || y.max == null) return -1;
  return nearest(fills.time, fills.price, {
    x: plot.posToVal(left, "x"),
    y: plot.posToVal(top, "y"),
    scaleX: (x.max - x.min) / plot.over.clientWidth,
    scaleY: (y.max - y.min) / plot.over.clientHeight,
    reach: REACH,
  });
}

function drawFills(plot: uPlot, fills: Fills): void {
  const { min, max } = plot.scales["x"]!;
  if (min == null || max == null) return;
  const paths = [0, 1, 2, 3].map(() => new Path2D());
  let seen = 0;
  for (let k = 0; k < fills.time.length; k++) if (fills.time[k]! >= min && fills.time[k]! <= max) seen++;
  // The more there are, the smaller they are.
  const size = devicePixelRatio * Math.max(2, Math.min(5.5, 90 / Math.sqrt(seen + 1)));
  for (let k = 0; k < fills.time.length; k++) {
    const time = fills.time[k]!;
    if (time < min || time > max) continue;
    const x = plot.valToPos(time, "x", true);
    const y = plot.valToPos(fills.price[k]!, "y", true);
    const up = fills.isBuy[k] ? 1 : -1;
    const path = paths[2 * fills.isBuy[k]! + fills.isTaker[k]!]!;
    path.moveTo(x, y - up * size);
    path.lineTo(x + size, y + up * size);
    path.lineTo(x - size, y + up * size);
    path.closePath();
  }
  const { ctx } = plot;
  const { left, top, width, height } = plot.bbox;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  ctx.lineWidth = 1.25 * devicePixelRatio;
  paths.forEach((path, k) => {
    ctx.fillStyle = ctx.strokeStyle = colour(k >= 2 ? "buy" : "sell");
    if (k % 2) ctx.stroke(path);
    else {
      ctx.fill(path);
      // A rim tells marks apart that overlap; around small ones it would hide them.
      if (size < 4 * devicePixelRatio) return;
      ctx.strokeStyle = colour("surface");
      ctx.lineWidth = 0.5 * devicePixelRatio;
      ctx.stroke(path);
      ctx.lineWidth = 1.25 * devicePixelRatio;
    }
  });
  ctx.restore();
}
