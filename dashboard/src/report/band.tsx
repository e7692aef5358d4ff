/** The band of fill assumptions: where the profit lies between the strictest and the kindest queue. */

import type { Run } from "./data";
import { decimal, figure, signed } from "./format";

const NAMES = [
  ["pessimistic", "Pessimistic", "last in every queue; only trades through the price fill"],
  ["queue", "As run", "by the run's own queue model"],
  ["optimistic", "Optimistic", "first in every queue"],
] as const;

export function Band({ run }: { run: Run }) {
  const { band } = run.summary;
  if (!band) return <p class="absent">This run was done without its band; run it with the band to see how much hangs on the queue.</p>;
  const model = String(run.reproducibility.configuration["queue_model"] ?? "");
  const values = NAMES.map(([name]) => Number(band[name].net_pnl));
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const place = (value: number): number => 4 + (92 * (value - low)) / (high - low || 1);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return (
    <div class="band">
      <div class="axis" aria-hidden="true">
        <i class="span" style={{ left: `${place(least)}%`, width: `${place(most) - place(least)}%` }} />
        <i class="origin" style={{ left: `${place(0)}%` }}>
          <span>0</span>
        </i>
        {NAMES.map(([name], k) => (
          <i key={name} class={`point ${name}`} style={{ left: `${place(values[k]!)}%` }} />
        ))}
      </div>
      <div class="cards three">
        {NAMES.map(([name, title, how]) => {
          const one = band[name];
          return (
            <article key={name} class={`card ${name}`}>
              <h3>
                <i class={`point ${name}`} /> {title}
              </h3>
              <p class="note">{name === "queue" && model ? `${how}, ${model}` : how}</p>
              <p class={`large ${Number(one.net_pnl) < 0 ? "loss" : "gain"}`}>
                {signed(one.net_pnl)} <small>{run.pair.currency}</small>
              </p>
              <dl class="pairs">
                <dt>fills</dt>
                <dd>{decimal(String(one.fills))}</dd>
                <dt>volume, {run.pair.quantity_unit}</dt>
                <dd>{decimal(one.volume)}</dd>
                <dt>deepest drawdown</dt>
                <dd>{decimal(one.max_drawdown)}</dd>
                <dt>Sharpe, annual</dt>
                <dd>{figure(one.sharpe, 3)}</dd>
              </dl>
            </article>
          );
        })}
      </div>
    </div>
  );
}
