/** What became of the run's limits: how near it came to each, what was refused, and what a breach held back. */

import { seconds, type LimitOutcome } from "./data";
import { decimal, instant } from "./format";

const NAMES: Record<string, string> = { OK: "kept", WARN: "warned", BREACHED: "breached" };

function at(ts: string | null, value: string | null): string {
  if (ts === null) return "–";
  return value === null ? instant(seconds(ts)) : `${instant(seconds(ts))}: ${decimal(value)}`;
}

/** What a limit has come to: the worst of its states during the run, or what it has held back since its first breach. */
function verdict(limit: LimitOutcome): string {
  const worst = limit.breaches ? "BREACHED" : limit.warnings ? "WARN" : "OK";
  return limit.hold_ts === null ? NAMES[worst]! : limit.hold;
}

export function LimitsTable({ limits }: { limits: LimitOutcome[] }) {
  return (
    <div class="scroll">
      <table class="data">
        <thead>
          <tr>
            <th scope="col">Limit</th>
            <th scope="col">Threshold</th>
            <th scope="col">Largest value</th>
            <th scope="col">First warned, UTC</th>
            <th scope="col">First breached, UTC</th>
            <th scope="col">Refused</th>
            <th scope="col">In the end</th>
          </tr>
        </thead>
        <tbody>
          {limits.map((limit) => (
            <tr key={limit.kind}>
              <th scope="row">{limit.kind}</th>
              <td>{decimal(limit.threshold)}</td>
              <td>{limit.largest === null ? "–" : decimal(limit.largest)}</td>
              <td>{at(limit.warned_ts, limit.warned_value)}</td>
              <td class={limit.breaches ? "loss" : undefined}>{at(limit.breached_ts, limit.breached_value)}</td>
              <td>{decimal(String(limit.refused))}</td>
              <td class={limit.hold_ts === null ? undefined : "loss"}>{verdict(limit)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
