/** The cumulated quantity of both sides against the price. */

import { book } from "../../live/market";
import { useValue } from "../../live/value";
import { useCanvas, type Pen } from "../canvas";
import { decimalsOf, short } from "../figures";
import { Panel } from "../widgets";
import { depthOf, type DepthPoint } from "./ladder";

export function DepthChart({ base, tick, isStale }: { base: string; tick: string; isStale: boolean }) {
  const found = useValue(book);
  const bids = depthOf(found?.bids ?? []);
  const asks = depthOf(found?.asks ?? []);
  const [canvas] = useCanvas((pen) => draw(pen, bids, asks, decimalsOf(tick)));
  const last = (points: DepthPoint[]): number => points[points.length - 1]?.total ?? 0;
  const text = `Depth: ${short(last(bids))} ${base} bid, ${short(last(asks))} ${base} asked within 20 levels`;
  return (
    <Panel title="Depth" class="depth" isStale={isStale}>
      <canvas ref={canvas} class="canvas depth-canvas" role="img" aria-label={text} />
    </Panel>
  );
}

function draw({ context: c, width, height, colour }: Pen, bids: DepthPoint[], asks: DepthPoint[], decimals: number): void {
  const bottom = height - 20;
  const [bid, ask] = [bids[0], asks[0]];
  if (!bid || !ask) return;
  const mid = (bid.price + ask.price) / 2;
  const reach = Math.max(mid - bids[bids.length - 1]!.price, asks[asks.length - 1]!.price - mid);
  const most = Math.max(bids[bids.length - 1]!.total, asks[asks.length - 1]!.total) * 1.1;
  const x = (price: number): number => ((price - mid + reach) / (2 * reach)) * width;
  const y = (total: number): number => bottom - (total / most) * (bottom - 16);
  c.textBaseline = "middle";
  for (const share of [0.5, 1]) {
    const total = (most / 1.1) * share;
    c.strokeStyle = colour("grid");
    c.beginPath();
    c.moveTo(0, Math.round(y(total)) + 0.5);
    c.lineTo(width, Math.round(y(total)) + 0.5);
    c.stroke();
    c.fillStyle = colour("muted");
    c.textAlign = "left";
    c.fillText(short(Number(total.toPrecision(3))), 4, y(total) - 7);
  }
  for (const [points, tone, edge] of [[bids, "buy", 0], [asks, "sell", width]] as const) {
    c.beginPath();
    c.moveTo(x(points[0]!.price), bottom);
    let before = 0;
    for (const { price, total } of points) {
      c.lineTo(x(price), y(before));
      c.lineTo(x(price), y(total));
      before = total;
    }
    c.lineTo(edge, y(before));
    c.strokeStyle = colour(tone);
    c.lineWidth = 1.6;
    c.stroke();
    c.lineTo(edge, bottom);
    c.closePath();
    c.globalAlpha = 0.16;
    c.fillStyle = colour(tone);
    c.fill();
    c.globalAlpha = 1;
  }
  c.lineWidth = 1;
  c.strokeStyle = colour("line");
  c.beginPath();
  c.moveTo(0, bottom + 0.5);
  c.lineTo(width, bottom + 0.5);
  c.stroke();
  c.fillStyle = colour("muted");
  c.textAlign = "left";
  c.fillText((mid - reach).toFixed(decimals), 4, bottom + 11);
  c.textAlign = "right";
  c.fillText((mid + reach).toFixed(decimals), width - 4, bottom + 11);
  c.textAlign = "center";
  c.fillStyle = colour("text");
  c.fillText(mid.toFixed(decimals), width / 2, bottom + 11);
}
