/** Risk: what is held, what it may lose, the limits, the alerts, and the switch that stops everything. */

import { useState } from "preact/hooks";

import { address, apiKey, call, download } from "../../live/api";
import { useQuery } from "../../live/query";
import { pairOf } from "../../live/state";
import type { Account, Items, Position, Strategy } from "../../live/types";
import { decimal, figure, money, percent, spanOf, stamp, toneOfMoney, words } from "../figures";
import { attempt, Dialog, Empty, Fact, Fault, Input, Panel, Segments, Select, Status, Table } from "../widgets";
import { Accounts } from "./accounts";
import { coveredBy, useOf, type Limit } from "./limits";
import { ModelTests } from "./model_tests";

interface Figures {
  metrics_id: string;
  risk_model: string;
  scope: string;
  positions: number;
  quantity: string;
  mark_price: string;
  position_value: string;
  confidence_level: string;
  time_horizon: string;
  value_at_risk: string;
  expected_shortfall: string;
  drawdown: string;
  currency: string | null;
  method: string;
  convention: string;
  sampling_interval: string;
  scaling: number;
  observations: number;
  coverage: number;
  as_of_ts: string;
}
interface Alert {
  alert_id: string;
  kind: string;
  severity: string;
  state: string;
  value: string;
  threshold: string;
  raised_ts: string;
  cleared_ts: string | null;
  message: string;
}

const METHODS = ["HISTORICAL", "AGE_WEIGHTED", "FILTERED_HISTORICAL", "NORMAL", "STUDENT_T", "CORNISH_FISHER", "EWMA", "GARCH", "PEAKS_OVER_THRESHOLD", "MONTE_CARLO"];

export function RiskPage() {
  const positions = useQuery<Items<Position>>("api/v1/positions?limit=500", { every: 2_000, on: ["simulator.position.updated"] });
  const strategies = useQuery<Items<Strategy>>("api/v1/strategies").data?.items ?? [];
  const accounts = useQuery<Items<Account>>("api/v1/accounts", { every: 5_000, on: ["simulator.account.*", "simulator.position.updated"] });
  const items = positions.data?.items ?? [];
  const [chosen, choose] = useState<string | null>(null);
  const shown = items.find((each) => each.position_id === chosen) ?? items.find((each) => Number(each.quantity) !== 0) ?? items[0];
  const nameOf = (position: Position): string => strategies.find((each) => each.strategy_id === position.strategy_id)?.name ?? (position.strategy_id ? position.strategy_id.slice(0, 8) : "manual orders");
  const names = new Map<string, string>([
    ...(accounts.data?.items ?? []).map((each) => [each.account_id, each.name] as const),
    ...strategies.map((each) => [each.strategy_id, each.name] as const),
    ...items.map((each) => [each.pair_id, pairOf(each.pair_id)?.symbol ?? each.pair_id] as const),
  ]);
  return (
    <div class="stack">
      <KillSwitch names={names} />
      <div class={shown ? "grid two" : "grid"}>
        <Panel title="Positions" note={items.length > 1 ? "Choose one to assess it." : undefined}>
          <Fault text={positions.error} retry={positions.reload} />
          <Table
            caption="Positions"
            rows={items}
            keyOf={(each) => each.position_id}
            rowClass={(each) => (each === shown ? "chosen" : "")}
            empty={<Empty title="Nothing is held"><p>Trade on the <a href="#/market">market page</a> or run a backtest: what it leaves can be assessed here.</p></Empty>}
            columns={[
              { name: "Of", isText: true, cell: (each) => <button type="button" class="quiet" onClick={() => choose(each.position_id)}>{nameOf(each)}</button> },
              { name: "Pair", isText: true, cell: (each) => pairOf(each.pair_id)?.symbol ?? each.pair_id.slice(0, 8) },
              { name: "Account", isText: true, isExtra: true, cell: (each) => accounts.data?.items.find((account) => account.account_id === each.account_id)?.name ?? "" },
              { name: "Quantity", cell: (each) => decimal(each.quantity) },
              { name: "Average", isExtra: true, cell: (each) => money(each.average_price) },
              { name: "Open", cell: (each) => <span class={toneOfMoney(each.unrealised_pnl)}>{money(each.unrealised_pnl, true)}</span> },
              { name: "Realised", cell: (each) => <span class={toneOfMoney(each.realised_pnl)}>{money(each.realised_pnl, true)}</span> },
            ]}
          />
        </Panel>
        {shown && <Assessment key={shown.position_id} position={shown} name={nameOf(shown)} />}
      </div>
      <div class="grid two">
        <Limits accounts={accounts.data?.items ?? []} strategies={strategies} positions={items} names={names} />
        <Alerts />
      </div>
      {shown && <Stress key={`stress ${shown.position_id}`} position={shown} />}
      {shown && <ModelTests key={`tests ${shown.position_id}`} position={shown} />}
      <Accounts accounts={accounts.data?.items ?? []} error={accounts.error} reload={accounts.reload} />
    </div>
  );
}

function Assessment({ position, name }: { position: Position; name: string }) {
  // Those of what it is a part of are saved under it, too: a round of the schedule makes five at most.
  const saved = useQuery<Items<Figures>>(`api/v1/risk/metrics/${position.position_id}?limit=20`, { on: ["risk.assessed"] });
  const [scope, of] = useState("POSITION");
  const [model, choose] = useState<"VaR" | "ExpectedShortfall">("VaR");
  const [confidence, be] = useState("0.95");
  const [horizon, over] = useState("1d");
  const [method, by] = useState("HISTORICAL");
  const [busy, set] = useState(false);
  const pair = pairOf(position.pair_id);
  const newest = saved.data?.items.find((each) => each.scope === scope);
  const assess = async (): Promise<void> => {
    set(true);
    const body = { position_id: position.position_id, risk_model: model, confidence_level: confidence, time_horizon: horizon, method, scope };
    await attempt(call<Figures>("POST", "api/v1/risk/assessment", body), () => "Assessed");
    saved.reload();
    set(false);
  };
  return (
    <Panel title={`What it may lose: ${name}`} tools={newest && <ReportLink positionId={position.position_id} />}>
      <form onSubmit={(event) => { event.preventDefault(); void assess(); }}>
        <div class="form">
          <Select label="Figure" value={model} options={[["VaR", "Value at risk"], ["ExpectedShortfall", "Expected shortfall"]]} onValue={(value) => choose(value as typeof model)} />
          <Select label="Confidence" value={confidence} options={[["0.9", "90 %"], ["0.95", "95 %"], ["0.975", "97.5 %"], ["0.99", "99 %"]]} onValue={be} />
          <Select label="Horizon" value={horizon} options={[["10m", "10 minutes"], ["1h", "1 hour"], ["1d", "1 day"], ["10d", "10 days"]]} onValue={over} />
          <Select label="Of" value={scope} options={[["POSITION", "this position"], ["PAIR", "its pair"], ["ACCOUNT", "its account"], ...(position.strategy_id ? [["STRATEGY", "its strategy"] as const] : []), ["BOOK", "the whole book"]]} onValue={of} />
          <Select label="Method" value={method} options={METHODS.map((each) => [each, words(each)] as const)} onValue={by} />
        </div>
        <div class="actions">
          <button type="submit" class="primary" disabled={busy}>
            {busy ? "Being assessed" : "Assess the risk"}
          </button>
        </div>
      </form>
      {newest ? (
        <>
          <dl class="large-facts gap">
            <Fact name={`Value at risk, ${newest.currency ?? pair?.quote ?? ""}`}>{money(newest.value_at_risk)}</Fact>
            <Fact name="Expected shortfall">{money(newest.expected_shortfall)}</Fact>
            <Fact name="Of a value of">{money(newest.position_value)}</Fact>
            <Fact name="Largest fall">{money(newest.drawdown)}</Fact>
          </dl>
          <p class="note gap">
            {newest.scope === "POSITION" ? "" : `${newest.positions} ${newest.positions === 1 ? "position" : "positions"} of ${scope === "BOOK" ? "the whole book" : `its ${words(scope)}`}: `}
            {percent(Number(newest.confidence_level), 1)} over {newest.time_horizon}, {words(newest.method)}, from {newest.observations} returns of {newest.sampling_interval} scaled by {figure(newest.scaling, 3)}; coverage{" "}
            {percent(newest.coverage, 1)}; {stamp(newest.as_of_ts)} UTC
          </p>
        </>
      ) : (
        <p class="note gap">{saved.error ?? "Not assessed yet. A market that has just begun needs a moment until it has prices enough."}</p>
      )}
    </Panel>
  );
}

function ReportLink({ positionId }: { positionId: string }) {
  const path = `api/v1/risk/report/${positionId}`;
  if (apiKey() === null) return <a href={address(path)} target="_blank" rel="noopener">Risk report</a>;
  return <button type="button" class="quiet" onClick={() => void attempt(download(path, `risk-${positionId}.html`))}>Risk report</button>;
}

const KINDS = [
  "MAX_POSITION", "MAX_NOTIONAL", "MAX_VAR", "MAX_ES", "MAX_DRAWDOWN", "MAX_LOSS", "MAX_CONCENTRATION", "MAX_STALENESS", "MAX_ORDER_SIZE",
  "MAX_ORDER_NOTIONAL", "PRICE_COLLAR", "MAX_MESSAGE_RATE", "MAX_REPEATED_ORDERS", "MAX_SELF_TRADE", "MAX_WORST_CASE_POSITION", "MAX_BOOK_VAR",
];
const ACTIONS = [["ALERT", "raise an alert"], ["REDUCE", "only reduce from then on"], ["HALT", "halt"]] as const;

function Limits({ accounts, strategies, positions, names }: { accounts: Account[]; strategies: Strategy[]; positions: Position[]; names: ReadonlyMap<string, string> }) {
  const { data, error, reload } = useQuery<Items<Limit>>("api/v1/risk/limits", { every: 3_000, on: ["risk.*"] });
  const [kind, choose] = useState("MAX_POSITION");
  const [threshold, write] = useState("");
  const [action, act] = useState<(typeof ACTIONS)[number][0]>("ALERT");
  const [scope, cover] = useState<"ALL" | "PAIR" | "STRATEGY" | "ACCOUNT" | "POSITION">("ALL");
  const [scopeId, pick] = useState("");
  const choices: Record<string, (readonly [string, string])[]> = {
    PAIR: [...new Set(positions.map((each) => each.pair_id))].map((id) => [id, pairOf(id)?.symbol ?? id] as const),
    STRATEGY: strategies.map((each) => [each.strategy_id, each.name] as const),
    ACCOUNT: accounts.map((each) => [each.account_id, each.name] as const),
    POSITION: positions.map((each) => [each.position_id, `${pairOf(each.pair_id)?.symbol ?? ""} ${each.quantity}`] as const),
  };
  const options = choices[scope] ?? [];
  const id = scopeId || options[0]?.[0];
  const add = async (): Promise<void> => {
    const added = await attempt(call<Limit>("POST", "api/v1/risk/limits", { kind, threshold: threshold.trim(), scope, on_breach: action, ...(scope === "ALL" ? {} : { scope_id: id }) }), () => "The limit holds");
    if (added) write("");
    reload();
  };
  return (
    <Panel title="Limits" note="Marks at the warning, 80 % unless said otherwise, and at 100 %.">
      <Fault text={error} />
      <Table
        caption="Limits"
        rows={data?.items ?? []}
        keyOf={(limit) => limit.limit_id}
        empty={<p class="note">No limit is set.</p>}
        columns={[
          { name: "Limit", isText: true, cell: (limit) => <><b>{words(limit.kind.replace("MAX_", ""))}</b> <small>{coveredBy(limit, names)}</small></> },
          { name: "Used", isText: true, cell: (limit) => <LimitBar limit={limit} /> },
          { name: "Threshold", cell: (limit) => decimal(limit.threshold) },
          { name: "State", isText: true, cell: (limit) => <span title={limit.evaluated_ts ? `evaluated ${stamp(limit.evaluated_ts)}` : "not evaluated yet"}><Status value={limit.state} />{limit.not_evaluated && <small title={limit.not_evaluated}> not evaluated</small>}</span> },
          { name: "Hold", cell: (limit) => limit.hold && limit.hold !== "ACTIVE" ? <button type="button" onClick={() => void attempt(call("POST", `api/v1/risk/limits/${limit.limit_id}/reset`), () => "Orders are taken again").then(reload)}>Reset</button> : null },
          { name: "Remove", cell: (limit) => <button type="button" class="icon small danger" aria-label={`Remove limit ${words(limit.kind)} ${limit.threshold}`} onClick={() => void attempt(call("DELETE", `api/v1/risk/limits/${limit.limit_id}`)).then(reload)}>×</button> },
        ]}
      />
      <form class="form gap" onSubmit={(event) => { event.preventDefault(); void add(); }}>
        <Select label="New limit" value={kind} options={KINDS.map((each) => [each, words(each.replace("MAX_", ""))] as const)} onValue={choose} />
        <Input label="Threshold" value={threshold} onValue={write} inputMode="decimal" />
        <Select label="Scope" value={scope} options={[["ALL", "everything"], ["PAIR", "a pair"], ["STRATEGY", "a strategy"], ["ACCOUNT", "an account"], ["POSITION", "a position"]]} onValue={(value) => { cover(value as typeof scope); pick(""); }} />
        {scope !== "ALL" && options.length > 0 && <Select label="Which" value={id ?? ""} options={options} onValue={pick} />}
        <Select label="On a breach" value={action} options={ACTIONS} onValue={(value) => act(value as typeof action)} />
        <div class="actions">
          <button type="submit" class="primary" disabled={!(Number(threshold) > 0) || (scope !== "ALL" && !id)}>
            Add the limit
          </button>
        </div>
      </form>
    </Panel>
  );
}

function LimitBar({ limit }: { limit: Limit }) {
  const use = useOf(limit);
  const text = use.share === null ? "not evaluated yet" : `${percent(use.share, 0)} used: ${decimal(Number(limit.value).toPrecision(8))}`;
  return (
    <span title={text}>
      <span class={`limit-bar ${limit.state}`} role="img" aria-label={text} style={{ display: "block" }}>
        <i style={{ width: `${use.width}%` }} />
        <span class="mark warn" style={{ left: `${use.warnAt}%` }} />
        <span class="mark" style={{ left: `${use.fullAt}%` }} />
      </span>
      <small>{use.share === null ? "not evaluated yet" : percent(use.share, 0)}</small>
    </span>
  );
}

function Alerts() {
  const [state, show] = useState<"ALL" | "RAISED">("ALL");
  const { data, error } = useQuery<Items<Alert>>(`api/v1/risk/alerts?limit=50${state === "ALL" ? "" : "&alert_state=RAISED"}`, { every: 5_000, on: ["risk.*"] });
  return (
    <Panel title="Alerts" class="alerts" tools={<Segments label="Which alerts" value={state} options={[["ALL", "All"], ["RAISED", "Raised"]]} onValue={show} />}>
      <Fault text={error} />
      <div aria-live="polite">
        <Table
          caption="Alerts"
          rows={data?.items ?? []}
          keyOf={(alert) => alert.alert_id}
          empty={<p class="note">No alert. They appear here as they come.</p>}
          columns={[
            { name: "When", isText: true, cell: (alert) => stamp(alert.raised_ts).slice(5) },
            { name: "Severity", isText: true, cell: (alert) => <Status value={alert.severity} /> },
            { name: "What", isText: true, cell: (alert) => <span title={alert.message}>{words(alert.kind.replace("MAX_", ""))}: {figure(Number(alert.value), 5)} of {decimal(alert.threshold)}</span> },
            { name: "State", isText: true, cell: (alert) => (alert.cleared_ts ? `cleared after ${spanOf(Number(BigInt(alert.cleared_ts) - BigInt(alert.raised_ts)) / 1e9)}` : <b class="sell">raised</b>) },
          ]}
        />
      </div>
    </Panel>
  );
}

interface Switch {
  switch_id: string;
  scope: string;
  scope_id: string | null;
  reason: string;
}

function KillSwitch({ names }: { names: ReadonlyMap<string, string> }) {
  const { data, error, reload } = useQuery<Items<Switch>>("api/v1/risk/kill-switch", { every: 3_000, on: ["risk.*"] });
  const [asked, ask] = useState<Switch | "stop" | null>(null);
  const [reason, write] = useState("");
  const [typed, type] = useState("");
  const items = data?.items ?? [];
  const whole = items.find((each) => each.scope === "ALL");
  const close = (): void => {
    ask(null);
    write("");
    type("");
  };
  const send = async (): Promise<void> => {
    const why = reason.trim();
    if (asked === "stop") {
      await attempt(call("POST", "api/v1/risk/kill-switch", { engaged: true, reason: why || "by hand, in the dashboard" }), () => "Everything is being cancelled; new orders are refused");
    } else if (asked !== null) {
      const { scope, scope_id } = asked;
      await attempt(call("POST", "api/v1/risk/kill-switch", { engaged: false, reason: why || "released in the dashboard", scope, ...(scope_id === null ? {} : { scope_id }) }), () => "Orders are taken again");
    }
    close();
    reload();
  };
  return (
    <Panel title="Kill switch">
      <Fault text={error} />
      <div class="stack">
        {items.map((each) => (
          <div key={each.switch_id} class="kill engaged">
            <b>
              Engaged{each === whole ? "" : ` for ${coveredBy(each, names)}`}: new orders are refused, {each.reason}.
            </b>
            <button type="button" onClick={() => ask(each)}>
              Release
            </button>
          </div>
        ))}
        {!whole && (
          <div class="kill">
            <span class="note">Cancels every open order and refuses new ones until it is released.</span>
            <button type="button" class="danger solid" onClick={() => ask("stop")}>
              Stop everything
            </button>
          </div>
        )}
      </div>
      {asked && (
        <Dialog title={asked === "stop" ? "Stop everything?" : `Release the kill switch of ${coveredBy(asked, names)}?`} onClose={close}>
          <form onSubmit={(event) => { event.preventDefault(); void send(); }}>
            <p class="note">{asked === "stop" ? "All open orders are cancelled, and every new one is refused until somebody releases the switch." : "New orders will be taken again."}</p>
            <div class="stack">
              <Input label="Reason" value={reason} onValue={write} isFirst />
              {asked === "stop" && <Input label="Write STOP to confirm" value={typed} onValue={type} />}
            </div>
            <div class="actions">
              <button type="submit" class={asked === "stop" ? "danger solid" : "primary"} disabled={asked === "stop" && typed.trim().toUpperCase() !== "STOP"}>
                {asked === "stop" ? "Stop everything" : "Release it"}
              </button>
              <button type="button" onClick={close}>
                Back
              </button>
            </div>
          </form>
        </Dialog>
      )}
    </Panel>
  );
}

interface StressAnswer {
  fixed: Record<string, unknown>[];
  historical: Record<string, unknown>[];
  reverse: Record<string, unknown>;
}

function Stress({ position }: { position: Position }) {
  const [found, set] = useState<StressAnswer | null>(null);
  const run = async (): Promise<void> => set(await attempt(call<StressAnswer>("POST", "api/v1/risk/stress", { position_id: position.position_id })));
  return (
    <Panel title="Stress" note="What given storms and the worst stretches of the history would cost." tools={<button type="button" onClick={() => void run()}>Compute</button>}>
      {found && (
        <div class="grid two">
          <Rows caption="Given storms" rows={found.fixed} />
          <Rows caption="Worst stretches" rows={found.historical} />
        </div>
      )}
    </Panel>
  );
}

/** Any rows as a table: plain values only. */
function Rows({ caption, rows }: { caption: string; rows: Record<string, unknown>[] }) {
  const names = [...new Set(rows.flatMap((row) => Object.entries(row).filter(([, value]) => value === null || typeof value !== "object").map(([name]) => name)))].slice(0, 6);
  const text = (value: unknown, name: string): string => (value === null || value === undefined ? "–" : name.endsWith("_ts") ? stamp(String(value)) : typeof value === "number" ? figure(value, 5) : /^-?\d+\.\d{3,}$/.test(String(value)) ? money(String(value)) : String(value));
  return (
    <div>
      <h3>{caption}</h3>
      <Table<Record<string, unknown>> caption={caption} rows={rows} keyOf={(row) => JSON.stringify(row)} empty={<p class="note">None.</p>} columns={names.map((name, k) => ({ name: words(name.replace(/_ts$/, "")), isText: k === 0, cell: (row) => text(row[name], name) }))} />
    </div>
  );
}
