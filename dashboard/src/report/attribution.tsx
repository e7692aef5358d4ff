/** Profit by cause: of the whole run, over time, and of the fills by what filled them and by the queue that was ahead. */

import { useState } from "preact/hooks";

import { StackedBars } from "../charts/stacked_bars";
import type { Run, SplitRow } from "./data";
import { decimal, duration, instant, percent, signed, words } from "./format";
import { CAUSES, contribution } from "./scales";

export function Attribution({ run }: { run: Run }) {
  const { analysis, pair, timeline } = run;
  const views = [
    { name: `every ${duration(timeline.width_ns)}`, rows: timeline.rows, label: (row: SplitRow) => at(row.key, timeline.width_ns) },
    { name: "by day", rows: analysis.by_day, label: (row: SplitRow) => row.label },
    { name: "by hour of the day", rows: analysis.by_hour_of_day, label: (row: SplitRow) => row.label },
  ];
  const [chosen, choose] = useState(0);
  const view = views[chosen]!;
  const { profit } = analysis;
  const largest = Math.max(...CAUSES.map((cause) => Math.abs(contribution(profit, cause))), 1e-12);
  return (
    <>
      <div class="sum">
        {CAUSES.map((cause) => {
          const amount = contribution(profit, cause);
          return (
            <div key={cause}>
              <span>{words(cause)}</span>
              <i class="track" aria-hidden="true">
                <i class={`cause-${cause}`} style={{ width: `${(50 * Math.abs(amount)) / largest}%`, [amount < 0 ? "right" : "left"]: "50%" }} />
              </i>
              <b>{signed(cause === "fees" ? negated(profit.fees) : profit[cause])}</b>
            </div>
          );
        })}
        <p>
          Net {signed(profit.net)} {pair.currency}; residual {decimal(profit.residual ?? "0")}: the parts add up to the
          ledger exactly.
        </p>
      </div>
      <div class="tools">
        {views.map(({ name }, k) => (
          <button type="button" key={name} aria-pressed={k === chosen} onClick={() => choose(k)}>
            {name}
          </button>
        ))}
      </div>
      <StackedBars rows={view.rows} currency={pair.currency} label={view.label} />
      <div class="cards splits">
        {analysis.fills_by_cause && <Split title="By what filled the order" rows={analysis.fills_by_cause} run={run} />}
        {analysis.fills_by_queue && <Split title="By the queue ahead when it came to rest, lots" rows={analysis.fills_by_queue} run={run} />}
        <Split title={`By volatility, windows of ${duration(analysis.regimes.window_ns)}`} rows={analysis.regimes.volatility} run={run} />
        <Split title="By trend" rows={analysis.regimes.trend} run={run} />
        {analysis.regimes.volume.length > 0 && <Split title="By public volume" rows={analysis.regimes.volume} run={run} />}
      </div>
    </>
  );
}

function Split({ title, rows, run }: { title: string; rows: SplitRow[]; run: Run }) {
  const all = rows.reduce((sum, row) => sum + row.fills, 0);
  return (
    <article class="card">
      <h3>{title}</h3>
      <div class="scroll">
        <table class="data">
          <thead>
            <tr>
              <th scope="col" />
              <th scope="col">fills</th>
              <th scope="col">share</th>
              <th scope="col">spread</th>
              <th scope="col">inventory</th>
              <th scope="col">net, {run.pair.currency}</th>
            </tr>
          </thead>
          <tbody>
            {rows
              .filter((row) => row.fills > 0 || (row.samples ?? 0) > 0)
              .map((row) => (
                <tr key={row.key}>
                  <th scope="row">{words(row.label)}</th>
                  <td>{decimal(String(row.fills))}</td>
                  <td>{percent(all ? row.fills / all : null)}</td>
                  <td>{signed(row.profit.spread_capture)}</td>
                  <td>{signed(row.profit.inventory)}</td>
                  <td>{signed(row.profit.net)}</td>
                </tr>
              ))}
          </tbody>
        </table>
      </div>
    </article>
  );
}

function negated(text: string): string {
  return text.startsWith("-") ? text.slice(1) : `-${text}`;
}

function at(key: number | string, widthNs: number): string {
  const text = instant(Number(BigInt(key) / 1_000_000n) / 1000);
  return widthNs >= 86_400e9 ? text.slice(0, 10) : widthNs >= 3_600e9 ? text.slice(5, 16) : text.slice(11, 19);
}
