/** The grid of latencies, queue models and fees as heat maps, and where the profit ends. */

import { HeatMap } from "../charts/heat_map";
import type { Figure, Fragility } from "./data";
import { figure, places, signed } from "./format";

export function FragilityMaps({ fragility, currency }: { fragility: Fragility; currency: string }) {
  const { cells, figures } = fragility;
  const fees = distinct(cells.map((cell) => cell.fee_factor));
  const latencies = distinct(cells.map((cell) => cell.latency_factor));
  const queues = [...new Set(cells.map((cell) => cell.queue_model))];
  const most = Math.max(...cells.map((cell) => Math.abs(Number(cell.net_pnl))));
  const losing = figures.conservative_losing.length;
  const own = cells.find((cell) => cell.fee_factor === 1 && cell.latency_factor === 1 && cell.queue_model === fragility.queue_model);
  const verdict =
    Number(own?.net_pnl ?? 0) <= 0
      ? "The run itself does not earn, so that there is nothing to lose."
      : `Of ${figures.conservative_cells} cells that are at least as strict in every respect, ${losing === 0 ? "all earn" : `${losing} do not earn`}.`;
  return (
    <>
      <div class="cards maps">
        {fees.map((fee) => (
          <HeatMap
            key={fee}
            caption={fees.length > 1 ? `fees × ${fee}` : "fees as in the run"}
            corner="latency"
            columns={queues}
            rows={latencies.map((latency) => `× ${latency}`)}
            most={most}
            cells={latencies.map((latency) =>
              queues.map((queue) => {
                const cell = cells.find(
                  (one) => one.fee_factor === fee && one.latency_factor === latency && one.queue_model === queue,
                );
                const net = cell ? signed(cell.net_pnl) : "–";
                return {
                  value: cell ? Number(cell.net_pnl) : null,
                  text: cell ? signed(cell.net_pnl, places(cell.net_pnl, Math.abs(Number(cell.net_pnl)) < 100 ? 2 : 0)) : "–",
                  title: `latency × ${latency}, ${queue}, fees × ${fee}: ${net} ${currency}, Sharpe ${figure(cell?.sharpe, 3)}`,
                  isOwn: fee === 1 && latency === 1 && queue === fragility.queue_model,
                };
              }),
            )}
          />
        ))}
      </div>
      <p class="note">
        Net profit in {currency}. The framed cell is the run itself. {verdict} A rebate is divided by the factor of the
        fees, so that a larger factor is never kinder.
      </p>
      <dl class="pairs wide">
        <BreakEven name="Profit reaches 0 at a latency of" unit="× the run's" of={figures.break_even_latency} />
        <BreakEven name="… at fees of" unit="× the run's" of={figures.break_even_fees} />
        <BreakEven name="… at a queue fraction of" unit="(0 first, 1 last in the queue)" of={figures.break_even_queue} />
      </dl>
    </>
  );
}

function BreakEven({ name, unit, of }: { name: string; unit: string; of: Figure }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{of.value === null ? of.reason : `${figure(of.value, 3)} ${unit}`}</dd>
    </>
  );
}

function distinct(values: number[]): number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}
