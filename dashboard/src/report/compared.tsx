/** Several runs side by side: their profit in one chart, and the same figures of each. */

import { useMemo } from "preact/hooks";

import { TimeChart, type Series } from "../charts/time_chart";
import { curvesOf, seconds, type Report } from "./data";
import { decimal, duration, figure, letter, percent, words } from "./format";
import { Section } from "./page";
import { Badge } from "./quality";

const COLOURS = ["equity", "inventory", "gain", "purple", "loss", "mid"];
/** Units that the name or the value tells already. */
const PLAIN = new Set(["ns", "share", "probability", "count"]);
const DASHES = [[], [7, 4], [2, 3]];

export function Compared({ report }: { report: Report }) {
  const { runs, comparison } = report;
  const series = useMemo(
    (): Series[] =>
      runs.map((run, k) => {
        const { equity } = curvesOf(run);
        const start = Number(run.analysis.initial_balance);
        return {
          label: letter(k),
          line: { time: equity.time, values: equity.values.map((value) => value - start) },
          colour: COLOURS[k % COLOURS.length]!,
          dash: DASHES[Math.floor(k / COLOURS.length) % DASHES.length]!,
        };
      }),
    [runs],
  );
  const range: [number, number] = [
    Math.min(...runs.map((run) => seconds(run.analysis.start_ts))),
    Math.max(...runs.map((run) => seconds(run.analysis.end_ts))),
  ];
  return (
    <Section id="compared" title="Side by side">
      {comparison?.cautions.map((caution) => (
        <p key={caution} class="caution">
          {caution}
        </p>
      ))}
      <h3>Profit since the start</h3>
      <TimeChart
        title="Profit of each run over time"
        series={series}
        height={260}
        range={range}
        group="compared"
        format={(value) => decimal(String(Number(value.toPrecision(9))))}
        withZero
      />
      <div class="scroll">
        <table class="data">
          <thead>
            <tr>
              <th scope="col" />
              {runs.map((run, k) => (
                <th scope="col" key={run.run_id}>
                  <b>{letter(k)}</b> {run.strategy.name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {comparison?.figures.map(({ name, unit, values, best }) => (
              <tr key={name}>
                <th scope="row">
                  {words(name)} <small>{PLAIN.has(unit) ? "" : unit}</small>
                </th>
                {values.map((value, k) => (
                  <td key={k} class={best === comparison.labels[k] ? "best" : undefined}>
                    {shown(value, unit)}
                    {best === comparison.labels[k] && <span class="hidden"> (best)</span>}
                  </td>
                ))}
              </tr>
            ))}
            {Object.keys(runs[0]!.quality).map((name, k) => (
              <tr key={name}>
                <th scope="row">
                  {"ABCDEF"[k]} {words(name)}
                </th>
                {runs.map((run) => (
                  <td key={run.run_id}>
                    <Badge status={run.quality[name]!.status} />
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="note">The best of each row, where more or less is better, is set in bold with a mark.</p>
    </Section>
  );
}

function shown(value: string | number | null, unit: string): string {
  if (value === null) return "–";
  if (typeof value === "string") return decimal(value);
  if (unit === "share" || unit === "probability") return percent(value, 2);
  if (unit === "ns") return duration(value);
  return unit === "count" ? decimal(String(value)) : figure(value);
}
