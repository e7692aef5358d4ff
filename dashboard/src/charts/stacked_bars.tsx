/** Profit by cause as stacked bars: gains upward, losses downward, the net as a mark. */

import type { SplitRow } from "../report/data";
import { decimal, figure, signed, words } from "../report/format";
import { CAUSES, contribution, stacked, ticks } from "../report/scales";

const WIDTH = 1100;
const HEIGHT = 300;
const MARGIN = { left: 74, right: 12, top: 10, bottom: 34 };

interface Props {
  rows: SplitRow[];
  currency: string;
  label: (row: SplitRow) => string;
}

export function StackedBars({ rows, currency, label }: Props) {
  const pieces = rows.map((row) => stacked(row.profit));
  const nets = rows.map((row) => Number(row.profit.net));
  const high = Math.max(0, ...nets, ...pieces.flat().map((piece) => piece.to));
  const low = Math.min(0, ...nets, ...pieces.flat().map((piece) => piece.to));
  const inner = { width: WIDTH - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const y = (value: number): number => MARGIN.top + ((high - value) / (high - low || 1)) * inner.height;
  const step = inner.width / Math.max(1, rows.length);
  const wide = Math.min(46, step * 0.72);
  const every = Math.max(1, Math.ceil(rows.length / 12));
  const causes = CAUSES.filter((cause) => rows.some((row) => contribution(row.profit, cause) !== 0));
  return (
    <figure>
      <p class="legend">
        {causes.map((cause) => (
          <span key={cause}>
            <i class={`swatch cause-${cause}`} /> {words(cause)}{" "}
          </span>
        ))}
        <i class="swatch net" /> net, {currency}
      </p>
      <svg class="drawing" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label="Profit by cause over time">
        {ticks(low, high).map((value) => (
          <g key={value}>
            <line class={value === 0 ? "zero" : "grid"} x1={MARGIN.left} x2={WIDTH - MARGIN.right} y1={y(value)} y2={y(value)} />
            <text class="tick" x={MARGIN.left - 8} y={y(value) + 4} text-anchor="end">
              {figure(value)}
            </text>
          </g>
        ))}
        {rows.map((row, k) => {
          const middle = MARGIN.left + (k + 0.5) * step;
          return (
            <g key={row.key}>
              <title>{`${label(row)}: net ${signed(row.profit.net)} ${currency}, ${decimal(String(row.fills))} fills\n${causes
                .map((cause) => `${words(cause)} ${signed(String(contribution(row.profit, cause)), 4)}`)
                .join("\n")}`}</title>
              <rect class="hit" x={middle - step / 2} y={MARGIN.top} width={step} height={inner.height} />
              {pieces[k]!.map((piece) => (
                <rect
                  key={piece.cause}
                  class={`cause-${piece.cause}`}
                  x={middle - wide / 2}
                  width={wide}
                  y={y(Math.max(piece.from, piece.to))}
                  height={Math.abs(y(piece.from) - y(piece.to))}
                />
              ))}
              <line class="net" x1={middle - wide / 2 - 2} x2={middle + wide / 2 + 2} y1={y(nets[k]!)} y2={y(nets[k]!)} />
              {k % every === 0 && (
                <text class="tick" x={middle} y={HEIGHT - 12} text-anchor="middle">
                  {label(row)}
                </text>
              )}
            </g>
          );
        })}
      </svg>
    </figure>
  );
}
