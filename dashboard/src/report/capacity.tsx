/** Net profit against order size: how much size the strategy bears. */

import type { Capacity } from "./data";
import { figure, percent, places, signed } from "./format";

export function CapacityTable({ capacity, currency }: { capacity: Capacity; currency: string }) {
  const most = Math.max(...capacity.points.map((point) => Math.abs(Number(point.net_pnl))), 1e-9);
  const best = capacity.is_bounded
    ? `The profit is largest at ${capacity.best_scale} times the size.`
    : "The profit still grows at the largest size that was tried.";
  const half =
    capacity.half_efficiency_scale === null
      ? ""
      : ` Profit per size has fallen to a half at ${figure(capacity.half_efficiency_scale, 3)} times the size.`;
  return (
    <>
      <div class="scroll">
        <table class="data">
          <thead>
            <tr>
              <th scope="col">size</th>
              <th scope="col">net, {currency}</th>
              <th scope="col" />
              <th scope="col">per size</th>
              <th scope="col">per added size</th>
              <th scope="col">Sharpe, annual</th>
              <th scope="col">share of the public volume</th>
            </tr>
          </thead>
          <tbody>
            {capacity.points.map((point) => (
              <tr key={point.scale}>
                <th scope="row">× {point.scale}</th>
                <td>{signed(point.net_pnl)}</td>
                <td class="bar">
                  <i
                    class={Number(point.net_pnl) < 0 ? "loss" : "gain"}
                    style={{ width: `${(100 * Math.abs(Number(point.net_pnl))) / most}%` }}
                  />
                </td>
                <td>{signed(point.pnl_per_size, places(point.pnl_per_size, 4))}</td>
                <td>{point.marginal_pnl === null ? "–" : signed(point.marginal_pnl, places(point.marginal_pnl, 4))}</td>
                <td>{figure(point.sharpe, 3)}</td>
                <td>{percent(point.volume_share, 2)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="note">
        {best}
        {half} The recorded market does not answer larger orders, so that this is the kindest case.
      </p>
    </>
  );
}
