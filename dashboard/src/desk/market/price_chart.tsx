/** Candles with volume and our own fills: wheel zooms, drag moves, the cursor tells a candle's figures. */

import { useEffect, useRef, useState } from "preact/hooks";

import { ticks } from "../../report/scales";
import { get } from "../../live/api";
import { book, fills, prints, type Print } from "../../live/market";
import { pairOf, sessionOf } from "../../live/state";
import { connection } from "../../live/stream";
import type { Fill, Items } from "../../live/types";
import { useValue } from "../../live/value";
import { useCanvas, type Pen } from "../canvas";
import { decimalsOf, short, time } from "../figures";
import { Panel, Segments } from "../widgets";
import { INTERVALS, joined, rangeOf, startOf, take, type Candle } from "./candles";

const RIGHT = 66;
const BOTTOM = 20;
const VOLUME_SHARE = 0.16;
const HISTORY = 400;

interface BarText {
  ts: string;
  open: string;
  high: string;
  low: string;
  close: string;
  volume: string;
}

/** Return the candles of a pair, kept up to date; `changed` is called after each change. */
function useCandles(pairId: string | null, interval: number, changed: () => void): { current: Candle[] } {
  const candles = useRef<Candle[]>([]);
  const connected = useValue(connection);
  useEffect(() => {
    candles.current = [];
    changed();
    if (pairId === null) return;
    let isPresent = true;
    let seen = new Set<string>();
    const fromTrades = (all: Print[]): void => {
      const fresh = all.filter((print) => !seen.has(print.id));
      for (const print of fresh.reverse()) take(candles.current, interval, print.ts, print.price, print.size);
      seen = new Set(all.map((print) => print.id));
      if (fresh.length) changed();
    };
    history(pairId, interval).then((given) => {
      if (!isPresent) return;
      candles.current = joined(given, candles.current);
      changed();
    }, () => undefined);
    seen = new Set(prints.get().map((print) => print.id));
    const stops = [
      prints.watch(fromTrades),
      book.watch((found) => {
        const [bid, ask] = [found?.bids[0], found?.asks[0]];
        if (!found || found.pair_id !== pairId || !bid || !ask) return;
        take(candles.current, interval, Number(found.ts) / 1e9, (Number(bid.price) + Number(ask.price)) / 2);
        changed();
      }),
    ];
    return () => {
      isPresent = false;
      for (const stop of stops) stop();
    };
  }, [pairId, interval, connected]);
  return candles;
}

async function history(pairId: string, interval: number): Promise<Candle[]> {
  if (!sessionOf(pairId)) return [];
  return (await get<Items<BarText>>(`api/v1/simulator/bars/${pairId}?interval=${interval}s&limit=${HISTORY}`)).items.map(candleOf);
}

const candleOf = (bar: BarText): Candle => ({
  ts: Number(bar.ts) / 1e9,
  open: Number(bar.open),
  high: Number(bar.high),
  low: Number(bar.low),
  close: Number(bar.close),
  volume: Number(bar.volume),
});

interface View {
  /** Candles from the newest to the right edge; 0 follows the market. */
  back: number;
  /** Width of a candle with its gap, in pixels. */
  step: number;
}

export function PriceChart({ pairId, isStale }: { pairId: string | null; isStale: boolean }) {
  const [interval, choose] = useState("5");
  const view = useRef<View>({ back: 0, step: 9 });
  const cursor = useRef<{ x: number; y: number } | null>(null);
  const [isBack, setBack] = useState(false);
  const ours = useValue(fills);
  const decimals = decimalsOf(pairOf(pairId)?.tick_size ?? "0.01");
  const changed = useRef(() => undefined as void);
  const kept = useCandles(pairId, Number(interval), () => changed.current());
  const [canvas, again] = useCanvas((pen) => draw(pen, kept.current, Number(interval), view.current, cursor.current, ours, decimals));
  changed.current = again;
  useEffect(() => {
    const element = canvas.current!;
    let from: { x: number; back: number } | null = null;
    const wheel = (event: WheelEvent): void => {
      if (!event.ctrlKey && !event.metaKey && Math.abs(event.deltaY) < Math.abs(event.deltaX)) return;
      event.preventDefault();
      view.current.step = Math.min(40, Math.max(2.5, view.current.step * (event.deltaY < 0 ? 1.15 : 1 / 1.15)));
      again();
    };
    const down = (event: PointerEvent): void => {
      from = { x: event.clientX, back: view.current.back };
      element.setPointerCapture(event.pointerId);
    };
    const move = (event: PointerEvent): void => {
      const box = element.getBoundingClientRect();
      cursor.current = { x: event.clientX - box.left, y: event.clientY - box.top };
      if (from) {
        const most = Math.max(0, kept.current.length - 10);
        view.current.back = Math.min(most, Math.max(0, from.back + (event.clientX - from.x) / view.current.step));
        setBack(view.current.back > 0.5);
      }
      again();
    };
    const up = (): void => void (from = null);
    const leave = (): void => {
      cursor.current = null;
      again();
    };
    element.addEventListener("wheel", wheel, { passive: false });
    element.addEventListener("pointerdown", down);
    element.addEventListener("pointermove", move);
    element.addEventListener("pointerup", up);
    element.addEventListener("pointerleave", leave);
    return () => {
      element.removeEventListener("wheel", wheel);
      element.removeEventListener("pointerdown", down);
      element.removeEventListener("pointermove", move);
      element.removeEventListener("pointerup", up);
      element.removeEventListener("pointerleave", leave);
    };
  }, []);
  const zoom = (factor: number): void => {
    view.current.step = Math.min(40, Math.max(2.5, view.current.step * factor));
    again();
  };
  return (
    <Panel
      title="Price"
      class="price"
      isStale={isStale}
      tools={
        <>
          {isBack && (
            <button type="button" class="quiet" onClick={() => { view.current.back = 0; setBack(false); again(); }}>
              To now
            </button>
          )}
          <button type="button" class="icon small" onClick={() => zoom(1 / 1.3)} aria-label="More time">−</button>
          <button type="button" class="icon small" onClick={() => zoom(1.3)} aria-label="Less time">+</button>
          <Segments label="Length of a candle" value={interval} options={INTERVALS} onValue={choose} />
        </>
      }
    >
      <canvas ref={canvas} class="canvas price-canvas" role="img" aria-label={`Candles of ${pairOf(pairId)?.symbol ?? "the pair"} with our fills marked`} />
      {pairId !== null && !sessionOf(pairId) && <p class="overlay">The market of this pair does not run.</p>}
    </Panel>
  );
}

function draw(pen: Pen, all: Candle[], interval: number, view: View, cursor: { x: number; y: number } | null, ours: readonly Fill[], decimals: number): void {
  const { context: c, width, height, colour } = pen;
  const plot = { width: width - RIGHT, height: height - BOTTOM };
  const count = Math.ceil(plot.width / view.step) + 1;
  const end = all.length - Math.round(view.back);
  const newest = all[end - 1];
  // By time as well: what lies before a gap is out of sight, and must not set the scale.
  const shown = newest ? all.slice(Math.max(0, end - count), end).filter((candle) => newest.ts - candle.ts < count * interval) : [];
  if (shown.length === 0) {
    c.fillStyle = colour("muted");
    c.textAlign = "center";
    c.fillText("Candles appear with the first prices.", plot.width / 2, plot.height / 2);
    return;
  }
  const { low, high, volume } = rangeOf(shown);
  const top = 10;
  const priceHeight = plot.height * (volume > 0 ? 1 - VOLUME_SHARE : 1) - top - 4;
  const y = (price: number): number => top + ((high - price) / (high - low)) * priceHeight;
  const last = shown[shown.length - 1]!;
  const right = plot.width - view.step * 0.7 - 4;
  const x = (ts: number): number => right - ((last.ts - ts) / interval) * view.step;
  c.lineWidth = 1;
  c.textBaseline = "middle";
  c.textAlign = "left";
  for (const price of ticks(low, high, Math.max(3, Math.floor(priceHeight / 48)))) {
    const at = Math.round(y(price)) + 0.5;
    c.strokeStyle = colour("grid");
    line(c, 0, at, plot.width, at);
    c.fillStyle = colour("muted");
    c.fillText(price.toFixed(decimals), plot.width + 6, at);
  }
  drawTimes(pen, shown, interval, x, plot.height);
  const body = Math.max(1, Math.floor(view.step * 0.68));
  for (const candle of shown) {
    const [up, at] = [candle.close >= candle.open, x(candle.ts)];
    if (at < -view.step) continue;
    const tone = colour(up ? "buy" : "sell");
    if (volume > 0 && candle.volume > 0) {
      const tall = (candle.volume / volume) * (plot.height * VOLUME_SHARE - 4);
      c.globalAlpha = 0.35;
      c.fillStyle = tone;
      c.fillRect(Math.round(at - body / 2), plot.height - tall, body, tall);
      c.globalAlpha = 1;
    }
    c.strokeStyle = c.fillStyle = tone;
    const middle = Math.round(at) + 0.5;
    line(c, middle, y(candle.high), middle, y(candle.low));
    const [from, to] = [y(Math.max(candle.open, candle.close)), y(Math.min(candle.open, candle.close))];
    c.fillRect(Math.round(at - body / 2), from, body, Math.max(1, to - from));
  }
  const first = shown[0]!.ts;
  for (const fill of ours) {
    const at = Number(fill.ts) / 1e9;
    if (at < first || at > last.ts + interval) continue;
    marker(pen, x(startOf(at, interval)), y(Number(fill.price)), fill.side === "BUY");
  }
  const now = all[all.length - 1]!.close;
  const nowAt = y(now);
  if (nowAt > 0 && nowAt < plot.height) {
    c.setLineDash([3, 3]);
    c.strokeStyle = colour("accent");
    line(c, 0, nowAt, plot.width, nowAt);
    c.setLineDash([]);
    tag(pen, now.toFixed(decimals), plot.width, nowAt, colour("accent"), colour("surface"));
  }
  if (cursor && cursor.x < plot.width && cursor.y < plot.height) {
    const place = Math.round((cursor.x - right) / view.step);
    const under = shown.find((candle) => Math.abs((candle.ts - last.ts) / interval - place) < 0.5);
    c.strokeStyle = colour("muted");
    c.setLineDash([2, 3]);
    const at = Math.round(right + place * view.step) + 0.5;
    line(c, at, 0, at, plot.height);
    line(c, 0, cursor.y, plot.width, cursor.y);
    c.setLineDash([]);
    tag(pen, (high - ((cursor.y - top) / priceHeight) * (high - low)).toFixed(decimals), plot.width, cursor.y, colour("muted"), colour("surface"));
    if (under) tell(pen, under, decimals);
  }
}

function drawTimes({ context: c, colour }: Pen, shown: Candle[], interval: number, x: (ts: number) => number, bottom: number): void {
  const perLabel = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
  const pixels = x(interval) - x(0);
  const step = perLabel.find((size) => (size / interval) * pixels >= 74) ?? 86400;
  c.textAlign = "center";
  c.fillStyle = colour("muted");
  const [first, last] = [shown[0]!.ts, shown[shown.length - 1]!.ts];
  for (let ts = Math.ceil(first / step) * step; ts <= last; ts += step) {
    const at = Math.round(x(ts)) + 0.5;
    if (at < 26) continue;
    c.strokeStyle = colour("grid");
    line(c, at, 0, at, bottom);
    const text = time(ts);
    c.fillText(step >= 60 ? text.slice(0, 5) : text, at, bottom + 11);
  }
}

function tell({ context: c, colour }: Pen, candle: Candle, decimals: number): void {
  const [o, h, l, k] = [candle.open, candle.high, candle.low, candle.close].map((value) => value.toFixed(decimals));
  c.textAlign = "left";
  const text = `${time(candle.ts)}   O ${o}  H ${h}  L ${l}  C ${k}${candle.volume ? `  V ${short(candle.volume)}` : ""}`;
  c.fillStyle = colour("surface");
  c.globalAlpha = 0.85;
  c.fillRect(4, 2, c.measureText(text).width + 12, 18);
  c.globalAlpha = 1;
  c.fillStyle = colour("text");
  c.fillText(text, 10, 11);
}

function marker({ context: c, colour }: Pen, x: number, y: number, isBuy: boolean): void {
  const size = 5;
  const tip = isBuy ? y + 2 : y - 2;
  const foot = isBuy ? tip + size * 1.7 : tip - size * 1.7;
  c.beginPath();
  c.moveTo(x, tip);
  c.lineTo(x - size, foot);
  c.lineTo(x + size, foot);
  c.closePath();
  c.fillStyle = colour(isBuy ? "buy" : "sell");
  c.strokeStyle = colour("surface");
  c.lineWidth = 1.5;
  c.fill();
  c.stroke();
  c.lineWidth = 1;
}

function tag({ context: c }: Pen, text: string, x: number, y: number, ground: string, ink: string): void {
  c.fillStyle = ground;
  c.fillRect(x + 1, y - 9, RIGHT - 2, 18);
  c.fillStyle = ink;
  c.textAlign = "left";
  c.fillText(text, x + 6, y);
}

function line(c: CanvasRenderingContext2D, x1: number, y1: number, x2: number, y2: number): void {
  c.beginPath();
  c.moveTo(x1, y1);
  c.lineTo(x2, y2);
  c.stroke();
}
