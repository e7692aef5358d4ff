/** Markouts by horizon with their confidence intervals, in ticks. */

import type { Markout } from "../report/data";
import { duration, figure } from "../report/format";
import { ticks } from "../report/scales";

const WIDTH = 1100;
const HEIGHT = 300;
const MARGIN = { left: 74, right: 12, top: 14, bottom: 34 };

interface Props {
  groups: { label: string; name: "all" | "maker"; markouts: Markout[] }[];
}

export function MarkoutChart({ groups }: Props) {
  const values = groups.flatMap(({ markouts }) =>
    markouts.flatMap(({ mean }) => [mean.estimate, mean.low, mean.high].filter((value) => value !== null)),
  );
  const low = Math.min(0, ...values);
  const high = Math.max(0, ...values);
  const room = (high - low || 1) * 0.06;
  const inner = { width: WIDTH - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
  const y = (value: number): number =>
    MARGIN.top + ((high + room - value) / (high - low + 2 * room || 1)) * inner.height;
  const count = groups[0]?.markouts.length ?? 0;
  const x = (k: number, group: number): number =>
    MARGIN.left + ((k + 0.5) / Math.max(1, count)) * inner.width + (group - (groups.length - 1) / 2) * 16;
  return (
    <figure>
      <p class="legend">
        {groups.map(({ label, name }) => (
          <span key={name}>
            <i class={`swatch markout-${name}`} /> {label}{" "}
          </span>
        ))}
        · whiskers: confidence interval, clustered by time · ticks per unit of quantity
      </p>
      <svg class="drawing" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label="Markout by horizon">
        {ticks(low - room, high + room).map((value) => (
          <g key={value}>
            <line class={value === 0 ? "zero" : "grid"} x1={MARGIN.left} x2={WIDTH - MARGIN.right} y1={y(value)} y2={y(value)} />
            <text class="tick" x={MARGIN.left - 8} y={y(value) + 4} text-anchor="end">
              {figure(value)}
            </text>
          </g>
        ))}
        {groups[0]?.markouts.map((markout, k) => (
          <text key={k} class="tick" x={x(k, (groups.length - 1) / 2)} y={HEIGHT - 12} text-anchor="middle">
            {duration(markout.horizon_ns)}
          </text>
        ))}
        {groups.map(({ name, label, markouts }, group) => {
          const known = markouts.flatMap(({ mean }, k) => (mean.estimate === null ? [] : [{ k, mean, value: mean.estimate }]));
          return (
            <g key={name} class={`markout-${name}`}>
              <polyline points={known.map(({ k, value }) => `${x(k, group)},${y(value)}`).join(" ")} />
              {known.map(({ k, mean, value }) => (
                <g key={k}>
                  <title>{`${label}, ${duration(markouts[k]!.horizon_ns)}: ${figure(value)} ticks${
                    mean.low === null ? "" : ` (${figure(mean.low)} to ${figure(mean.high)})`
                  }`}</title>
                  {mean.low !== null && mean.high !== null && (
                    <path
                      d={`M${x(k, group) - 5} ${y(mean.low)}h10M${x(k, group)} ${y(mean.low)}V${y(mean.high)}M${x(k, group) - 5} ${y(mean.high)}h10`}
                    />
                  )}
                  <circle cx={x(k, group)} cy={y(value)} r="4.5" />
                </g>
              ))}
            </g>
          );
        })}
      </svg>
    </figure>
  );
}
