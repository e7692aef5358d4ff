/** The figures of a run in four short tables. */

import type { Figure, Interval, Run } from "./data";
import { decimal, duration, figure, percent } from "./format";

type Row = [name: string, value: string, note?: string | null];

function between(interval: Interval): string | null {
  if (interval.low === null) return interval.reason;
  return `${figure(interval.low, 3)} to ${figure(interval.high, 3)}, ${percent(interval.confidence, 0)}`;
}

function known(name: string, of: Figure, shown = (value: number): string => figure(value)): Row {
  return [name, of.value === null ? "–" : shown(of.value), of.reason];
}

export function KeyFigures({ run }: { run: Run }) {
  const { analysis, pair } = run;
  const { returns, trading, edge } = analysis;
  const fall = analysis.drawdowns[0];
  const tables: [string, Row[]][] = [
    [
      "Return and risk",
      [
        ["Sharpe ratio, annual", figure(returns.sharpe.ratio, 4), returns.sharpe.reason ?? `sampled each ${duration(returns.sharpe.interval_ns)}`],
        ["by block bootstrap", "", between(analysis.sharpe_bootstrap.interval)],
        ["by HAC", "", between(analysis.sharpe_hac)],
        known("Sortino ratio", returns.sortino),
        known("Calmar ratio", returns.calmar),
        known("Probabilistic Sharpe", edge.probabilistic_sharpe, (value) => percent(value)),
        [
          "Deflated Sharpe",
          edge.deflated ? percent(edge.deflated.probability) : "–",
          analysis.edge_evidence.trials === null ? "trials not counted" : `${decimal(String(analysis.edge_evidence.trials))} trials`,
        ],
      ],
    ],
    [
      "Money",
      [
        [`Balance at the start, ${pair.currency}`, decimal(analysis.initial_balance)],
        [`Equity at the end, ${pair.currency}`, decimal(analysis.final_equity)],
        [`Deepest drawdown, ${pair.currency}`, fall ? decimal(fall.depth) : "0", fall ? `lasted ${duration(fall.duration_ns)}` : null],
        ["Time under water", percent(analysis.under_water.share)],
        [`Turnover, ${pair.currency}`, decimal(analysis.turnover)],
        ["Turnover per day / balance", figure(analysis.turnover_per_day, 3)],
      ],
    ],
    [
      "Trading",
      [
        ["Orders", decimal(String(trading.orders)), `${decimal(String(trading.orders_rejected))} rejected, ${decimal(String(trading.orders_canceled))} cancelled`],
        ["Fills", decimal(String(trading.fills))],
        ["Orders with a fill", percent(trading.fill_ratio)],
        ["Maker share", percent(trading.maker_share)],
        ["Cancels per fill", figure(trading.cancels_per_fill, 3)],
        ["Share of the public volume", percent(analysis.volume_share, 2)],
        ["Profit from young orders", percent(analysis.young_profit_share)],
      ],
    ],
    [
      "Quotes and inventory",
      [
        ["Quoted spread, ticks", figure(analysis.spreads.quoted, 3)],
        ["Effective spread as maker", figure(analysis.spreads.effective_maker, 3)],
        ["Time at the best bid", percent(analysis.time_at_best?.bid_at_best), analysis.time_at_best ? null : "needs --record-orders"],
        ["Time at the best ask", percent(analysis.time_at_best?.ask_at_best)],
        [`Position at the end, ${pair.quantity_unit}`, decimal(run.summary.position)],
        known("Half-life of the inventory", analysis.inventory.half_life_ns, duration),
      ],
    ],
  ];
  return (
    <div class="cards two">
      {tables.map(([title, rows]) => (
        <article key={title} class="card">
          <h3>{title}</h3>
          <table class="plain">
            <tbody>
              {rows.map(([name, value, note]) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  <td>
                    {value}
                    {note && <small> {note}</small>}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </article>
      ))}
    </div>
  );
}
