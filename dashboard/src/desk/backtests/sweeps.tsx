/** Sweeps over one or two parameters, and their trials as a heat map. */

import { useState } from "preact/hooks";

import { HeatMap } from "../../charts/heat_map";
import { call } from "../../live/api";
import { useQuery } from "../../live/query";
import { chosenPair, pairOf } from "../../live/state";
import type { Items, Strategy, StrategyKind } from "../../live/types";
import { useValue } from "../../live/value";
import { figure, money, signed, spanOf, stamp, words } from "../figures";
import { attempt, Empty, Fault, Input, Panel, Progress, Select, Status, Table } from "../widgets";
import { gridOf, planeOf, type TrialLike } from "./compare";
import { RangeFields, type Range } from "./range";

interface Sweep {
  sweep_id: string;
  strategy_id: string;
  pair_id: string;
  status: string;
  total: number;
  done: number;
  progress_percent: number;
  eta_seconds: number | null;
  error: string | null;
  created_ts: string;
  grid: Record<string, number[]>;
}
interface Trial extends TrialLike {
  trial_id: string;
  number: number;
}

export function Sweeps() {
  const { data, error, reload } = useQuery<Items<Sweep>>("api/v1/backtest/sweeps?limit=50", { on: ["backtest.sweep.*"], every: 3_000 });
  const known = useQuery<{ items: Strategy[]; kinds: StrategyKind[] }>("api/v1/strategies").data;
  const [chosen, choose] = useState<string | null>(null);
  const sweeps = data?.items ?? [];
  const shown = sweeps.find((sweep) => sweep.sweep_id === chosen) ?? sweeps[0];
  const nameOf = (id: string): string => known?.items.find((each) => each.strategy_id === id)?.name ?? id.slice(0, 8);
  return (
    <>
      {known && <NewSweep strategies={known.items} kinds={known.kinds} onStarted={reload} />}
      <Panel title="Sweeps">
        <Fault text={error} retry={reload} />
        <Table
          caption="Sweeps"
          rows={sweeps}
          keyOf={(sweep) => sweep.sweep_id}
          rowClass={(sweep) => (sweep === shown ? "chosen" : "")}
          empty={<Empty title="No sweep yet"><p>Choose a strategy and a grid of one or two of its parameters above.</p></Empty>}
          columns={[
            { name: "Strategy", isText: true, cell: (sweep) => <button type="button" class="quiet" onClick={() => choose(sweep.sweep_id)}>{nameOf(sweep.strategy_id)}</button> },
            { name: "Grid", isText: true, cell: (sweep) => Object.entries(sweep.grid).map(([name, values]) => `${words(name)} × ${values.length}`).join(", ") },
            { name: "Begun", isText: true, isExtra: true, cell: (sweep) => stamp(sweep.created_ts).slice(5) },
            { name: "Sets", cell: (sweep) => `${sweep.done} of ${sweep.total}` },
            {
              name: "State",
              isText: true,
              cell: (sweep) =>
                sweep.status === "RUNNING" ? (
                  <span class="line">
                    <Progress percent={sweep.progress_percent} label="Progress of the sweep" /> {sweep.eta_seconds === null ? "" : `${spanOf(sweep.eta_seconds)} left`}
                  </span>
                ) : (
                  <>
                    <Status value={sweep.status} /> {sweep.error && <small>{sweep.error.slice(0, 90)}</small>}
                  </>
                ),
            },
          ]}
        />
      </Panel>
      {shown && <Surface key={shown.sweep_id} sweep={shown} />}
    </>
  );
}

function NewSweep({ strategies, kinds, onStarted }: { strategies: Strategy[]; kinds: StrategyKind[]; onStarted: () => void }) {
  const wanted = useValue(chosenPair);
  const fitting = [...strategies].sort((a, b) => Number(b.pair_id === wanted) - Number(a.pair_id === wanted));
  const [id, choose] = useState("");
  const [range, set] = useState<Range>({ start: "", end: "" });
  const strategy = fitting.find((each) => each.strategy_id === id) ?? fitting[0];
  const pair = pairOf(strategy?.pair_id ?? null);
  const names = Object.keys(kinds.find((kind) => kind.kind === strategy?.kind)?.parameters.properties ?? {});
  const [axes, change] = useState<[string, string][]>([["", ""], ["", ""]]);
  if (!strategy || !pair) return <Empty title="No strategy yet"><p>Add one on the strategy page.</p></Empty>;
  const first = axes[0]![0] || names.find((name) => name.includes("spread")) || names[0] || "";
  const axis = (k: number, changes: [string, string]): void => change(axes.map((each, j) => (j === k ? changes : each)));
  const grid: Record<string, unknown> = {};
  // The last name of a grid varies fastest and lies across its heat map.
  for (const [k, [name, text]] of [...axes.entries()].reverse()) {
    const key = k === 0 ? first : name;
    if (key && text.trim()) grid[key] = gridOf(text);
  }
  const isFine = Object.keys(grid).length > 0 && Object.values(grid).every((values) => values !== null);
  const start = async (): Promise<void> => {
    await attempt(call("POST", "api/v1/backtest/sweeps", { strategy_id: strategy.strategy_id, start_date: range.start, end_date: range.end, grid }), () => "The sweep has been queued");
    onStarted();
  };
  return (
    <Panel title="New sweep">
      <form onSubmit={(event) => { event.preventDefault(); void start(); }}>
        <div class="form">
          <Select label="Strategy" value={strategy.strategy_id} options={fitting.map((each) => [each.strategy_id, `${each.name} · ${pairOf(each.pair_id)?.symbol ?? ""}`] as const)} onValue={choose} hint={words(strategy.kind)} />
          <RangeFields pair={pair} range={range} onRange={set} />
          {axes.map(([name, text], k) => (
            <>
              <Select key={`n${k}`} label={k === 0 ? "Parameter across" : "Parameter down"} value={k === 0 ? first : name} options={[...(k ? [["", "none"] as const] : []), ...names.map((each) => [each, words(each)] as const)]} onValue={(value) => axis(k, [value, text])} />
              <Input key={`v${k}`} label="Its values" value={text} onValue={(value) => axis(k, [k === 0 ? first : name, value])} hint="1:10:1 (from, to, step) or 1, 2, 5" />
            </>
          ))}
        </div>
        <div class="actions">
          <button type="submit" class="primary" disabled={!isFine || !range.start}>
            Run the sweep
          </button>
        </div>
      </form>
    </Panel>
  );
}

function Surface({ sweep }: { sweep: Sweep }) {
  const { data, error } = useQuery<Items<Trial>>(`api/v1/backtest/sweeps/${sweep.sweep_id}/trials?sort=number&limit=1000`, { every: sweep.status === "RUNNING" ? 2_000 : 0, on: ["backtest.sweep.*"] });
  const names = Object.keys(sweep.grid).filter((name) => sweep.grid[name]!.length > 1);
  const [column, ...others] = names.length ? [names[names.length - 1]!, ...names.slice(0, -1)] : Object.keys(sweep.grid);
  const trials = data?.items ?? [];
  if (!column || trials.length === 0) return error ? <Fault text={error} /> : null;
  const row = others[0] ?? null;
  const plane = planeOf(trials, column, row);
  const values = plane.cells.flat().filter((value): value is number => value !== null);
  const [most, best] = [Math.max(...values.map(Math.abs)), Math.max(...values)];
  const quote = pairOf(sweep.pair_id)?.quote ?? "";
  return (
    <Panel title="Net P&L of the sweep" note={`${trials.length} trials; the best of many is not evidence. Outlined: the best, ${money(String(best), true)} ${quote}.`}>
      <HeatMap
        caption={`Net P&L, ${quote}`}
        corner={row ? `${words(row)} ↓ · ${words(column)} →` : words(column)}
        columns={plane.columns.map(String)}
        rows={row ? plane.rows.map(String) : ["net P&L"]}
        cells={plane.cells.map((line) => line.map((value) => ({ value, text: value === null ? "–" : signed(figure(value, 4).replace("−", "-").replaceAll("\u202f", "")), title: value === null ? "not tried" : `${value} ${quote}`, isOwn: value === best })))}
        most={most}
      />
    </Panel>
  );
}
