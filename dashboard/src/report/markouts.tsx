/** Markouts as a curve and as numbers. */

import { MarkoutChart } from "../charts/markout_chart";
import type { Markout, Run } from "./data";
import { decimal, duration, figure } from "./format";

export function Markouts({ run }: { run: Run }) {
  const { markouts, maker_markouts: makers, trading } = run.analysis;
  const isSame = trading.maker_share === 1;
  const groups = [
    { label: isSame ? "all fills, every one as maker" : "all fills", name: "all" as const, markouts },
    ...(isSame ? [] : [{ label: "fills as maker", name: "maker" as const, markouts: makers }]),
  ];
  if (trading.fills === 0) return <p class="absent">The run has no fills.</p>;
  return (
    <>
      <MarkoutChart groups={groups} />
      <div class="scroll">
        <table class="data">
          <thead>
            <tr>
              <th scope="col">after</th>
              <th scope="col">markout, ticks</th>
              <th scope="col">interval</th>
              <th scope="col">fills</th>
              <th scope="col">left out</th>
              <th scope="col">unseen</th>
            </tr>
          </thead>
          <tbody>
            {markouts.map((markout) => (
              <tr key={markout.horizon_ns}>
                <th scope="row">{duration(markout.horizon_ns)}</th>
                <td>{figure(markout.mean.estimate)}</td>
                <td>{interval(markout)}</td>
                <td>{decimal(String(markout.fills))}</td>
                <td>{decimal(String(markout.left_out))}</td>
                <td>{decimal(String(markout.unseen))}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="note">
        Left out: the run ended before the horizon. Unseen: no later mid was known by then, so the fill shows its own.
      </p>
    </>
  );
}

function interval({ mean }: Markout): string {
  return mean.low === null ? (mean.reason ?? "–") : `${figure(mean.low)} to ${figure(mean.high)}`;
}
