/** Backtests: start one, see how far it is, what it earned, one beside another; sweeps as heat maps. */

import { useState } from "preact/hooks";

import { address, apiKey, call, download, get } from "../../live/api";
import { useFetched, useQuery } from "../../live/query";
import { chosenPair, pairOf } from "../../live/state";
import type { Items, Run, Strategy } from "../../live/types";
import { useValue } from "../../live/value";
import { decimal, figure, money, short, signed, spanOf, stamp, toneOfMoney, words } from "../figures";
import { go, place } from "../router";
import { attempt, Empty, Fault, Input, Panel, Progress, Segments, Select, Status, Table, type Column } from "../widgets";
import { linesOf } from "./compare";
import { RangeFields, type Range } from "./range";
import { Sweeps } from "./sweeps";

interface Result {
  run_id: string;
  summary: Record<string, unknown>;
  digest: string;
}

export function BacktestsPage() {
  const shown = useValue(place).rest[0] === "sweeps" ? "sweeps" : "runs";
  return (
    <div class="stack">
      <Segments label="Runs or sweeps" value={shown} options={[["runs", "Runs"], ["sweeps", "Sweeps"]]} onValue={(what) => (what === "sweeps" ? go("backtests", "sweeps") : go("backtests"))} />
      {shown === "runs" ? <Runs /> : <Sweeps />}
    </div>
  );
}

function Runs() {
  const runs = useQuery<Items<Run>>("api/v1/backtest/runs?limit=100", { on: ["backtest.queued", "backtest.started", "backtest.completed", "backtest.failed", "backtest.canceled"] });
  const items = runs.data?.items ?? [];
  const isBusy = items.some((run) => run.status === "RUNNING" || run.status === "PENDING");
  const live = useQuery<Items<Run>>(isBusy ? "api/v1/backtest/runs?limit=20" : null, { every: 700 });
  const newest = new Map((live.data?.items ?? []).map((run) => [run.run_id, run]));
  const rows = items.map((run) => newest.get(run.run_id) ?? run);
  const strategies = useQuery<Items<Strategy>>("api/v1/strategies").data?.items ?? [];
  const used = [...new Set(rows.filter((run) => run.status === "COMPLETED").map((run) => run.strategy_id))].slice(0, 20);
  const finished = rows.filter((run) => run.status === "COMPLETED").length;
  const results = useFetched<Map<string, Result>>(used.length ? `${used.join()} ${finished}` : null, async () => {
    const pages = await Promise.all(used.map((id) => get<Items<Result>>(`api/v1/backtest/results/${id}?limit=100`)));
    return new Map(pages.flatMap((page) => page.items).map((result) => [result.run_id, result]));
  }).data;
  const [chosen, choose] = useState<string[]>([]);
  const toggle = (id: string): void => choose(chosen.includes(id) ? chosen.filter((each) => each !== id) : [...chosen, id].slice(-2));
  const nameOf = (run: Run): string => strategies.find((each) => each.strategy_id === run.strategy_id)?.name ?? run.strategy_id.slice(0, 8);
  return (
    <>
      <NewRun strategies={strategies} onStarted={runs.reload} />
      <Panel title="Runs" note={rows.length > 1 ? "Choose two that have ended to compare them." : undefined}>
        <Fault text={runs.error} retry={runs.reload} />
        <Table
          caption="Runs"
          rows={rows}
          keyOf={(run) => run.run_id}
          rowClass={(run) => (chosen.includes(run.run_id) ? "chosen" : "")}
          columns={columns(nameOf, results, chosen, toggle, runs.reload)}
          empty={<Empty title="No backtest yet"><p>Choose a strategy and a recorded stretch above, and run it.</p></Empty>}
        />
      </Panel>
      {chosen.length === 2 && results && <Compared runs={chosen.map((id) => rows.find((run) => run.run_id === id)!)} results={results} nameOf={nameOf} />}
    </>
  );
}

function columns(nameOf: (run: Run) => string, results: Map<string, Result> | null, chosen: string[], toggle: (id: string) => void, reload: () => void): Column<Run>[] {
  const figureOf = (run: Run, name: string): string | null => {
    const value = results?.get(run.run_id)?.summary[name];
    return value === undefined || value === null ? null : String(value);
  };
  return [
    {
      name: "Compare",
      isText: true,
      cell: (run) => run.status === "COMPLETED" && <input type="checkbox" aria-label={`Compare run of ${stamp(run.created_ts)}`} checked={chosen.includes(run.run_id)} onChange={() => toggle(run.run_id)} />,
    },
    { name: "Strategy", isText: true, cell: (run) => <b>{nameOf(run)}</b> },
    { name: "Begun", isText: true, isExtra: true, cell: (run) => stamp(run.created_ts).slice(5) },
    {
      name: "State",
      isText: true,
      cell: (run) =>
        run.status === "RUNNING" || run.status === "PENDING" ? (
          <span class="line">
            <Progress percent={run.progress_percent} label={`Progress of the run of ${nameOf(run)}`} />
            {run.status === "PENDING" ? "waits" : `${run.progress_percent.toFixed(0)} %${run.eta_seconds === null ? "" : `, ${spanOf(run.eta_seconds)} left`}`}
            {run.events_per_second ? <small>{short(run.events_per_second)} events/s</small> : null}
          </span>
        ) : (
          <span title={run.error ?? ""}>
            <Status value={run.status} />
            {run.error && <small> {run.error.slice(0, 90)}</small>}
          </span>
        ),
    },
    { name: "Orders", isExtra: true, cell: (run) => figureOf(run, "orders") ?? "–" },
    { name: "Fills", cell: (run) => figureOf(run, "fills") ?? "–" },
    { name: "Net P&L", cell: (run) => <b class={toneOfMoney(figureOf(run, "net_pnl"))}>{money(figureOf(run, "net_pnl"), true)}</b> },
    { name: "Drawdown", isExtra: true, cell: (run) => money(figureOf(run, "max_drawdown")) },
    {
      name: "Report",
      cell: (run) =>
        run.status === "COMPLETED" ? (
          <Report runId={run.run_id} />
        ) : (
          ["RUNNING", "PENDING"].includes(run.status) && (
            <button type="button" class="quiet danger" onClick={() => void attempt(call("DELETE", `api/v1/backtest/runs/${run.run_id}`)).then(reload)}>
              Cancel
            </button>
          )
        ),
    },
  ];
}

/** The whole report: a page of its own; where a key is needed, which a link cannot carry, a file. */
function Report({ runId }: { runId: string }) {
  const path = `api/v1/backtest/runs/${runId}/report`;
  if (apiKey() === null) {
    return (
      <a href={address(path)} target="_blank" rel="noopener">
        Report
      </a>
    );
  }
  return (
    <button type="button" class="quiet" onClick={() => void attempt(download(path, `report-${runId}.html`))}>
      Report
    </button>
  );
}

function NewRun({ strategies, onStarted }: { strategies: Strategy[]; onStarted: () => void }) {
  const wanted = useValue(chosenPair);
  const fitting = [...strategies].sort((a, b) => Number(b.pair_id === wanted) - Number(a.pair_id === wanted));
  const [id, choose] = useState("");
  const [range, set] = useState<Range>({ start: "", end: "" });
  const [conditions, bend] = useState({ volatility: "", trend: "", volume_profile: "" });
  const [seed, draw] = useState("0");
  const strategy = fitting.find((each) => each.strategy_id === id) ?? fitting[0];
  const pair = pairOf(strategy?.pair_id ?? null);
  const start = async (): Promise<void> => {
    if (!strategy) return;
    const put = Object.fromEntries(Object.entries(conditions).filter(([, value]) => value !== "").map(([name, value]) => [name, name === "volatility" ? Number(value) : value]));
    const body = { strategy_id: strategy.strategy_id, start_date: range.start, end_date: range.end, seed: Number(seed) || 0, ...(Object.keys(put).length ? { market_conditions: put } : {}) };
    await attempt(call<Run>("POST", "api/v1/backtest", body), () => `The backtest of ${strategy.name} has been queued`);
    onStarted();
  };
  return (
    <Panel title="New backtest" tools={<a href="#/strategy">Add a strategy</a>}>
      {!strategy || !pair ? (
        <Empty title="No strategy yet"><p>Add one on the strategy page.</p></Empty>
      ) : (
        <form onSubmit={(event) => { event.preventDefault(); void start(); }}>
          <div class="form">
            <Select label="Strategy" value={strategy.strategy_id} options={fitting.map((each) => [each.strategy_id, `${each.name} · ${pairOf(each.pair_id)?.symbol ?? ""}`] as const)} onValue={choose} hint={words(strategy.kind)} />
            <RangeFields pair={pair} range={range} onRange={set} />
          </div>
          <details class="gap">
            <summary>Market conditions and seed</summary>
            <div class="form">
              <Input label="Volatility" value={conditions.volatility} onValue={(volatility) => bend({ ...conditions, volatility })} inputMode="decimal" hint="standard deviation of daily log returns; empty: as recorded" />
              <Select label="Trend" value={conditions.trend} options={[["", "as recorded"], ["UP", "up"], ["DOWN", "down"], ["SIDEWAYS", "sideways"]]} onValue={(trend) => bend({ ...conditions, trend })} />
              <Select label="Volume" value={conditions.volume_profile} options={[["", "as recorded"], ["LOW", "low"], ["NORMAL", "normal"], ["HIGH", "high"], ["U_SHAPED", "U-shaped"]]} onValue={(volume_profile) => bend({ ...conditions, volume_profile })} />
              <Input label="Seed" value={seed} onValue={draw} inputMode="numeric" />
            </div>
          </details>
          <div class="actions">
            <button type="submit" class="primary" disabled={!range.start || !range.end}>
              Run the backtest
            </button>
          </div>
        </form>
      )}
    </Panel>
  );
}

function Compared({ runs, results, nameOf }: { runs: Run[]; results: Map<string, Result>; nameOf: (run: Run) => string }) {
  const lines = linesOf(runs.map((run) => results.get(run.run_id)?.summary ?? {}));
  return (
    <Panel title="Compared">
      <Table
        caption="Two runs beside each other"
        rows={lines}
        keyOf={(each) => each.name}
        columns={[
          { name: "Figure", isText: true, cell: (each) => words(each.name.replace(/_ns$/, "")) },
          ...runs.map((run, k) => ({
            name: `${"AB"[k]}: ${nameOf(run)}, ${stamp(run.created_ts).slice(5)}`,
            cell: (each: (typeof lines)[number]) => (each.name.endsWith("_ns") ? lasting(each.values[k] ?? null) : shownFigure(each.values[k] ?? null)),
          })),
          { name: "B less A", cell: (each) => (each.difference === null || each.name.endsWith("_ns") ? "" : <b class={each.name.includes("pnl") ? toneOfMoney(String(each.difference)) : ""}>{signed(figureText(each.difference))}</b>) },
        ]}
      />
    </Panel>
  );
}

const lasting = (ns: string | null): string => (ns === null ? "–" : spanOf(Number(ns) / 1e9));
const figureText = (value: number): string => String(Number(value.toPrecision(6)));

function shownFigure(text: string | null): string {
  if (text === null) return "–";
  return /^-?\d+(\.\d+)?$/.test(text) ? (text.includes(".") && text.length > 12 ? figure(Number(text), 7) : decimal(text)) : text;
}
