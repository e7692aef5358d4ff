/** The trades of the market as they come, ours marked. */

import { fills, prints } from "../../live/market";
import { useValue } from "../../live/value";
import { time } from "../figures";
import { Panel } from "../widgets";

const SHOWN = 40;

export function Tape({ decimals, sizeDecimals, isStale }: { decimals: number; sizeDecimals: number; isStale: boolean }) {
  const all = useValue(prints);
  const ours = new Set(useValue(fills).map((fill) => fill.trade_id));
  return (
    <Panel title="Trades" class="tape" isStale={isStale}>
      <div class="tape-rows" tabIndex={0} role="group" aria-label="Newest trades">
        <table class="tight">
          <caption class="hidden">Newest trades, newest first</caption>
          <thead>
            <tr>
              <th scope="col" class="text">UTC</th>
              <th scope="col">Price</th>
              <th scope="col">Size</th>
            </tr>
          </thead>
          <tbody>
            {all.slice(0, SHOWN).map((print) => (
              <tr key={print.id} class={ours.has(print.id) ? "ours" : ""}>
                <td class="text">{time(print.ts, 1)}</td>
                <td class={print.side === "BUY" ? "buy" : "sell"}>
                  <span aria-hidden="true">{print.side === "BUY" ? "▲" : "▼"}</span> {print.price.toFixed(decimals)}
                </td>
                <td>
                  {ours.has(print.id) && <b class="own-mark" title="our own trade"><span aria-hidden="true">● </span><span class="hidden">own </span></b>}
                  {print.size.toFixed(sizeDecimals)}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
        {all.length === 0 && <p class="note">No trade since this page was opened.</p>}
      </div>
    </Panel>
  );
}
