/** Strategies: which there are, new ones by the form of their kind, and those that trade live. */

import { useState } from "preact/hooks";

import { call } from "../../live/api";
import { useQuery } from "../../live/query";
import { chosenPair, pairOf, pairs, sessionOf } from "../../live/state";
import type { Items, LevelText, Strategy, StrategyKind } from "../../live/types";
import { useValue } from "../../live/value";
import { decimal, figure, money, stamp, toneOfMoney, words } from "../figures";
import { faultsOf, valuesOf, type Written } from "../schema";
import { SchemaForm } from "../schema_form";
import { attempt, Badge, Empty, Fact, Fault, Input, Panel, Select, Status, Table } from "../widgets";

interface LiveRun {
  run_id: string;
  strategy_id: string;
  pair_id: string;
  name: string;
  kind: string;
  state: string;
  error: string | null;
  started_ts: string;
  wakes: number;
  orders_placed: number;
  orders_refused: number;
  last_refusal: string | null;
  open_orders: number;
  quotes: { bid: LevelText | null; ask: LevelText | null };
  inventory: string;
  mid_price: string | null;
  fills: number;
  maker_fills: number;
  turnover: string;
  pnl: { net: string; spread: string; inventory: string; fees: string };
  markouts: { horizon: string; mean: number | null; fills: number }[];
}

const LIVE = "api/v1/simulator/strategies";

export function StrategyPage() {
  const { data, error, reload } = useQuery<{ items: Strategy[]; kinds: StrategyKind[] }>("api/v1/strategies");
  const live = useQuery<Items<LiveRun>>(`${LIVE}?limit=50`, { every: 1_000, on: ["simulator.strategy.*"] });
  const runs = live.data?.items ?? [];
  const [chosen, choose] = useState<string | null>(null);
  const shown = runs.find((run) => run.run_id === chosen) ?? runs.find((run) => run.state === "RUNNING") ?? runs[0];
  const start = async (strategy: Strategy): Promise<void> => {
    const begun = await attempt(call<LiveRun>("POST", LIVE, { strategy_id: strategy.strategy_id }), () => `${strategy.name} trades`);
    if (begun) choose(begun.run_id);
    live.reload();
  };
  return (
    <div class="stack">
      <Fault text={error} retry={reload} />
      <Panel title="Strategies" note="Started live, a strategy trades on the simulated market of its pair until it is stopped.">
        <Table
          caption="Strategies"
          rows={data?.items ?? []}
          keyOf={(each) => each.strategy_id}
          empty={<Empty title="No strategy yet"><p>Add one below.</p></Empty>}
          columns={[
            { name: "Name", isText: true, cell: (each) => <b>{each.name}</b> },
            { name: "Kind", isText: true, isExtra: true, cell: (each) => words(each.kind) },
            { name: "Pair", isText: true, cell: (each) => pairOf(each.pair_id)?.symbol ?? each.pair_id.slice(0, 8) },
            { name: "Parameters", isText: true, isExtra: true, cell: (each) => <small>{Object.entries(each.parameters).slice(0, 5).map(([name, value]) => `${words(name)} ${String(value)}`).join(", ")}</small> },
            {
              name: "Do",
              cell: (each) => {
                const running = runs.find((run) => run.strategy_id === each.strategy_id && run.state === "RUNNING");
                return (
                  <span class="row-tools">
                    {running && (
                      <button type="button" class="danger" onClick={() => void attempt(call("DELETE", `${LIVE}/${running.run_id}`), () => `${each.name} stops`).then(live.reload)}>
                        Stop
                      </button>
                    )}
                    {!running && (
                      <button type="button" disabled={!sessionOf(each.pair_id)} title={sessionOf(each.pair_id) ? "" : "No market runs for its pair"} onClick={() => void start(each)}>
                        Start live
                      </button>
                    )}
                    <a class="button" href="#/backtests">
                      Backtest
                    </a>
                  </span>
                );
              },
            },
          ]}
        />
      </Panel>
      {runs.length > 0 && <LiveRuns runs={runs} chosen={shown?.run_id ?? null} choose={choose} />}
      {shown && <LiveDetail run={shown} />}
      {data && <NewStrategy kinds={data.kinds} onAdded={reload} />}
    </div>
  );
}

function LiveRuns({ runs, chosen, choose }: { runs: LiveRun[]; chosen: string | null; choose: (id: string) => void }) {
  return (
    <Panel title="Live runs">
      <Table
        caption="Live runs"
        rows={runs}
        keyOf={(run) => run.run_id}
        rowClass={(run) => (run.run_id === chosen ? "chosen" : "")}
        columns={[
          { name: "Strategy", isText: true, cell: (run) => <button type="button" class="quiet" onClick={() => choose(run.run_id)}>{run.name}</button> },
          { name: "State", isText: true, cell: (run) => <span title={run.error ?? ""}><Status value={run.state} /></span> },
          { name: "Since", isText: true, isExtra: true, cell: (run) => stamp(run.started_ts).slice(5) },
          { name: "Inventory", cell: (run) => decimal(run.inventory) },
          { name: "Fills", cell: (run) => run.fills },
          { name: "Net P&L", cell: (run) => <b class={toneOfMoney(run.pnl.net)}>{money(run.pnl.net, true)}</b> },
        ]}
      />
    </Panel>
  );
}

function LiveDetail({ run }: { run: LiveRun }) {
  const pair = pairOf(run.pair_id);
  const quote = pair?.quote ?? "";
  const level = (side: LevelText | null): string => (side ? `${side.quantity} at ${side.price}` : "none");
  return (
    <Panel title={`${run.name}, live`} tools={<Status value={run.state} />}>
      {run.error && <Fault text={run.error} />}
      <dl class="large-facts">
        <Fact name={`Net, ${quote}`} class={toneOfMoney(run.pnl.net)}>{money(run.pnl.net, true)}</Fact>
        <Fact name="Spread earned" class={toneOfMoney(run.pnl.spread)}>{money(run.pnl.spread, true)}</Fact>
        <Fact name="Inventory moved" class={toneOfMoney(run.pnl.inventory)}>{money(run.pnl.inventory, true)}</Fact>
        <Fact name="Fees">{money(run.pnl.fees)}</Fact>
        <Fact name={`Inventory, ${pair?.base ?? ""}`}>{decimal(run.inventory)}</Fact>
        <Fact name="Bid" class="buy">{level(run.quotes.bid)}</Fact>
        <Fact name="Ask" class="sell">{level(run.quotes.ask)}</Fact>
      </dl>
      {run.last_refusal && <p class="note gap">Last refusal: {run.last_refusal}</p>}
      <div class="grid two gap">
        <dl class="facts">
          <Fact name="Fills">{`${run.fills}, ${run.maker_fills} as maker`}</Fact>
          <Fact name={`Turnover, ${quote}`}>{money(run.turnover)}</Fact>
          <Fact name="Orders placed">{run.orders_placed}</Fact>
          <Fact name="Open orders">{run.open_orders}</Fact>
          <Fact name="Wake-ups">{run.wakes}</Fact>
        </dl>
        <Table
          caption="Markouts"
          rows={run.markouts}
          keyOf={(each) => each.horizon}
          empty={<p class="note">Markouts come with the first fills.</p>}
          columns={[
            { name: "After", isText: true, cell: (each) => each.horizon },
            { name: `Mid against the fill, ${quote}`, cell: (each) => <span class={toneOfMoney(String(each.mean ?? 0))}>{figure(each.mean, 4)}</span> },
            { name: "Fills", cell: (each) => each.fills },
          ]}
        />
      </div>
    </Panel>
  );
}

function NewStrategy({ kinds, onAdded }: { kinds: StrategyKind[]; onAdded: () => void }) {
  const [kindName, choose] = useState("inventory_skew");
  const [name, call_] = useState("");
  const [written, write] = useState<Written>({});
  const wanted = useValue(chosenPair);
  const known = useValue(pairs) ?? [];
  const [pairId, pick] = useState("");
  const kind = kinds.find((each) => each.kind === kindName) ?? kinds[0];
  if (!kind) return null;
  const faults = faultsOf(written, kind.parameters);
  const pair = pairId || wanted || "";
  const add = async (): Promise<void> => {
    const body = { name: name.trim(), kind: kind.kind, pair_id: pair, parameters: valuesOf(written, kind.parameters) };
    const added = await attempt(call<Strategy>("POST", "api/v1/strategies", body), (found) => `${found.name} has been added`);
    if (added) {
      call_("");
      onAdded();
    }
  };
  return (
    <Panel title="New strategy" tools={<Badge tone="info">{kinds.length} kinds</Badge>}>
      <form onSubmit={(event) => { event.preventDefault(); void add(); }}>
        <div class="form">
          <Input label="Name" value={name} onValue={call_} />
          <Select label="Kind" value={kind.kind} options={kinds.map((each) => [each.kind, words(each.kind)] as const)} onValue={(chosen) => { choose(chosen); write({}); }} hint={kind.summary} />
          <Select label="Pair" value={pair} options={known.map((each) => [each.pair_id, `${each.symbol} · ${each.venue}`] as const)} onValue={pick} />
        </div>
        <h3 class="gap">Parameters</h3>
        <SchemaForm schema={kind.parameters} written={written} onWritten={write} />
        <div class="actions">
          <button type="submit" class="primary" disabled={name.trim() === "" || Object.keys(faults).length > 0}>
            Add the strategy
          </button>
        </div>
      </form>
    </Panel>
  );
}
