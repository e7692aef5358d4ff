/** The trials of a sweep over two of its parameters. */

import { useState } from "preact/hooks";

import { HeatMap } from "../charts/heat_map";
import type { Surface } from "./data";
import { decimal, figure, signed, words } from "./format";
import { place, planeOf, type Band, type Choice, type Measure } from "./scales";

export function SurfaceMap({ surface, currency }: { surface: Surface; currency: string }) {
  const [column, setColumn] = useState(0);
  const [row, setRow] = useState(1);
  const [measure, setMeasure] = useState<Measure>("net_pnl");
  const [choice, setChoice] = useState<Choice>("median");
  const plane = planeOf(surface, column, row, measure, choice);
  const own = [place(plane.rows, surface.own[row] ?? NaN), place(plane.columns, surface.own[column] ?? NaN)];
  const isShared = plane.counts.some((line) => line.some((count) => count > 1));
  const most = Math.max(0, ...plane.cells.flat().map((value) => Math.abs(value ?? 0)));
  const text = (value: number): string =>
    measure === "net_pnl" ? signed(String(Number(value.toPrecision(6))), Math.abs(value) < 100 ? 2 : 0) : figure(value, 3);
  const select = (label: string, value: number, set: (k: number) => void, other: number) => (
    <label>
      {label}{" "}
      <select value={value} onChange={(event) => set(Number(event.currentTarget.value))}>
        {surface.names.map((name, k) => (
          <option key={name} value={k} disabled={k === other}>
            {words(name)}
          </option>
        ))}
      </select>
    </label>
  );
  return (
    <>
      <p class="note">
        {decimal(String(surface.trials))} trials of the newest sweep of this strategy
        {surface.points.length < surface.trials ? `, the first ${decimal(String(surface.points.length))} of them shown` : ""}. A
        plateau is worth more than a peak: the best of many is often luck.
      </p>
      <div class="tools">
        {select("across", column, setColumn, row)}
        {select("down", row, setRow, column)}
        <label>
          shows{" "}
          <select value={measure} onChange={(event) => setMeasure(event.currentTarget.value as Measure)}>
            <option value="net_pnl">net profit, {currency}</option>
            <option value="sharpe">Sharpe ratio</option>
          </select>
        </label>
        {isShared && (
          <label>
            of the others the{" "}
            <select value={choice} onChange={(event) => setChoice(event.currentTarget.value as Choice)}>
              <option value="median">median</option>
              <option value="best">best</option>
              <option value="worst">worst</option>
            </select>
          </label>
        )}
      </div>
      <HeatMap
        caption={`${words(surface.names[row]!)} down, ${words(surface.names[column]!)} across`}
        corner=""
        columns={plane.columns.map(named)}
        rows={plane.rows.map(named)}
        most={most}
        cells={plane.cells.map((line, r) =>
          line.map((value, c) => ({
            value,
            text: value === null ? "–" : text(value),
            title: `${words(surface.names[column]!)} ${named(plane.columns[c]!)}, ${words(surface.names[row]!)} ${named(plane.rows[r]!)}: ${
              value === null ? "nothing" : text(value)
            } of ${plane.counts[r]![c]} trials`,
            isOwn: r === own[0] && c === own[1],
          })),
        )}
      />
      <p class="note">The framed cell, where there is one, has the parameters of this run. Trials have the range, latency and fees of their sweep, which may not be those of this run.</p>
    </>
  );
}

function named({ low, high }: Band): string {
  return low === high ? decimal(String(Number(low.toPrecision(8)))) : `${figure(low)} … ${figure(high)}`;
}
