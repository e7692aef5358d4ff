/** The simulated market as a machine: how it runs, its storms, how real it looks. */

import { useState } from "preact/hooks";

import { call, can } from "../../live/api";
import { useQuery } from "../../live/query";
import { choosePair, chosenPair, loadSessions, pairOf, sessions } from "../../live/state";
import type { Items, Pair, Schema, Session } from "../../live/types";
import { useValue } from "../../live/value";
import { decimal, figure, stamp, words } from "../figures";
import { faultsOf, valuesOf, type Written } from "../schema";
import { SchemaForm } from "../schema_form";
import { attempt, Badge, Dialog, Empty, Fact, Fault, Input, Panel, Segments, Select, Status, Table } from "../widgets";

const SPEEDS = ["0.1", "0.5", "1", "2", "5", "10", "50", "100"];

export function SessionPage() {
  const pair = pairOf(useValue(chosenPair));
  const session = useValue(sessions)?.find((each) => each.pair_id === pair?.pair_id) ?? null;
  if (!pair) return <Empty title="No pair yet"><p>Add one on the market page.</p></Empty>;
  return (
    <div class="grid wide-left">
      <div class="stack">
        {session ? <Running pair={pair} session={session} /> : <Start pair={pair} />}
        {session && can("GET /api/v1/simulator/scenarios") && <Scenarios session={session} />}
      </div>
      <div class="stack">
        {session && <Realism pair={pair} />}
        <AllSessions />
      </div>
    </div>
  );
}

async function change(session: Session, wish: Record<string, unknown>, done?: string): Promise<void> {
  await attempt(call<Session>("PATCH", `api/v1/simulator/sessions/${session.session_id}`, wish), done ? () => done : undefined);
  await loadSessions().catch(() => undefined);
}

function Running({ pair, session }: { pair: Pair; session: Session }) {
  const [step, write] = useState("10s");
  const [isStopping, stop] = useState(false);
  const isPaused = session.state === "PAUSED";
  return (
    <Panel title="Market" tools={<Status value={session.state} />}>
      <dl class="large-facts">
        <Fact name="Pair">{pair.symbol}</Fact>
        <Fact name={`Reference price, ${pair.quote}`}>{decimal(session.reference_price)}</Fact>
        <Fact name="Trades">{decimal(String(session.trades))}</Fact>
        <Fact name="Mode">{session.mode.toLowerCase()}</Fact>
        {session.phase && <Fact name="Phase">{words(session.phase)}</Fact>}
      </dl>
      <div class="actions">
        <button type="button" class="primary" onClick={() => void change(session, { state: isPaused ? "RUNNING" : "PAUSED" })}>
          {isPaused ? "Go on" : "Pause"}
        </button>
        <form class="inline-form" onSubmit={(event) => { event.preventDefault(); void change(session, { step }, `The market went on by ${step}`); }}>
          <input aria-label="Length of a step" class="short" value={step} onInput={(event) => write(event.currentTarget.value)} />
          <button type="submit" disabled={!isPaused} title="While it is paused">
            Step
          </button>
        </form>
        <button type="button" aria-pressed={session.recording} onClick={() => void change(session, { recording: !session.recording }, session.recording ? "The recording is in the lake" : "The market is being recorded")}>
          {session.recording ? `End recording (${session.recorded_events} events)` : "Record"}
        </button>
        <button type="button" class="danger" onClick={() => stop(true)}>
          Stop for good
        </button>
      </div>
      <h3 class="gap">Speed</h3>
      <Segments label="Speed" value={String(session.speed)} options={SPEEDS.map((speed) => [speed, `${speed}×`] as const)} onValue={(speed) => void change(session, { speed: Number(speed) })} />
      <dl class="facts gap">
        <Fact name="Seed">{session.seed}</Fact>
        <Fact name="Deviation per update">{figure(session.price_deviation, 3)}</Fact>
        <Fact name="Update every">{session.market_update_interval}</Fact>
        <Fact name="Execution delay">{session.execution_delay}</Fact>
        <Fact name="Updates">{decimal(String(session.step))}</Fact>
        <Fact name="Open orders">{session.open_orders}</Fact>
        <Fact name="Since">{stamp(session.created_ts).slice(5)}</Fact>
      </dl>
      {isStopping && (
        <Dialog title={`Stop the market of ${pair.symbol}?`} onClose={() => stop(false)}>
          <p class="note">Its open orders are cancelled, and it cannot go on. A new one can be started.</p>
          <div class="actions">
            <button type="button" class="danger solid" onClick={() => { stop(false); void change(session, { state: "STOPPED" }, "The market has been stopped"); }}>
              Stop it
            </button>
            <button type="button" onClick={() => stop(false)}>
              Keep it running
            </button>
          </div>
        </Dialog>
      )}
    </Panel>
  );
}

interface Kind {
  name: string;
  summary: string;
  parameters: Schema;
}

function Start({ pair }: { pair: Pair }) {
  const [mode, choose] = useState<"NORMAL" | "STRESS" | "CUSTOM">("NORMAL");
  const [wish, write] = useState({ initial_price: pair.initial_price ?? "", seed: "", price_deviation: "", execution_delay: "", market_update_interval: "", speed: "" });
  const kinds = useQuery<Items<Kind>>(can("GET /api/v1/simulator/scenarios") ? "api/v1/simulator/scenarios" : null).data?.items ?? [];
  const custom = useQuery<Schema>(mode === "CUSTOM" && can("GET /api/v1/simulator/custom-schema") ? "api/v1/simulator/custom-schema" : null).data;
  const [scenario, pick] = useState("");
  const [sections, fill] = useState<Record<string, Written>>({});
  const modes = [["NORMAL", "Normal"], ...(kinds.length ? [["STRESS", "Stress"], ["CUSTOM", "Custom"]] : [])] as [typeof mode, string][];
  const set = (name: keyof typeof wish) => (value: string) => write({ ...wish, [name]: value });
  const start = async (): Promise<void> => {
    const numbers = ["seed", "price_deviation", "speed"];
    const body: Record<string, unknown> = { pair_id: pair.pair_id, mode };
    for (const [name, text] of Object.entries(wish)) if (text.trim()) body[name] = numbers.includes(name) ? Number(text) : text.trim();
    if (mode === "STRESS" && scenario) body["scenarios"] = [{ name: scenario }];
    if (mode === "CUSTOM" && custom) {
      const parts = Object.entries(custom.properties ?? {}).map(([name, part]) => [name, valuesOf(sections[name] ?? {}, rooted(part, custom))] as const);
      body["parameters"] = Object.fromEntries(parts.filter(([, values]) => Object.keys(values).length));
    }
    await attempt(call<Session>("POST", "api/v1/simulator/sessions", body), () => `The market of ${pair.symbol} runs`);
    await loadSessions().catch(() => undefined);
  };
  return (
    <Panel title={`Start a market for ${pair.symbol}`} note="What is left empty is as the settings of the service say.">
      <form onSubmit={(event) => { event.preventDefault(); void start(); }}>
        <Segments label="Mode" value={mode} options={modes} onValue={choose} />
        <div class="form gap">
          <Input label="First price" unit={pair.quote} value={wish.initial_price} onValue={set("initial_price")} inputMode="decimal" />
          <Input label="Seed" value={wish.seed} onValue={set("seed")} inputMode="numeric" hint="the same seed gives the same market" />
          <Input label="Deviation per update" value={wish.price_deviation} onValue={set("price_deviation")} inputMode="decimal" hint="relative, such as 0.0002" />
          <Input label="Update every" value={wish.market_update_interval} onValue={set("market_update_interval")} hint="such as 200ms" />
          <Input label="Execution delay" value={wish.execution_delay} onValue={set("execution_delay")} hint="such as 20ms" />
          <Input label="Speed" value={wish.speed} onValue={set("speed")} inputMode="decimal" hint="0.1 to 100" />
          {mode === "STRESS" && <Select label="Scenario" value={scenario} options={[["", "choose one"], ...kinds.map((kind) => [kind.name, words(kind.name)] as const)]} onValue={pick} hint={kinds.find((kind) => kind.name === scenario)?.summary} />}
        </div>
        {mode === "CUSTOM" &&
          Object.entries(custom?.properties ?? {}).map(([name, part]) => (
            <details key={name} class="gap">
              <summary>{words(name)}</summary>
              <SchemaForm schema={rooted(part, custom!)} written={sections[name] ?? {}} onWritten={(written) => fill({ ...sections, [name]: written })} />
            </details>
          ))}
        <div class="actions">
          <button type="submit" class="primary" disabled={mode === "STRESS" && !scenario}>
            Start the market
          </button>
        </div>
      </form>
    </Panel>
  );
}

/** Return a part of a schema with the definitions of its whole, so that its references lead somewhere. */
function rooted(part: Schema, whole: Schema): Schema {
  const name = part.$ref?.split("/").pop();
  const found = name ? whole.$defs?.[name] ?? part : part;
  return { ...found, ...(whole.$defs ? { $defs: whole.$defs } : {}) };
}

interface Scenario {
  scenario_id: string;
  name: string;
  parameters: Record<string, number>;
  state: string;
  starts_ts: string;
  ends_ts: string;
  repeats_every: string | null;
  phase: string | null;
}

function Scenarios({ session }: { session: Session }) {
  const kinds = useQuery<Items<Kind>>("api/v1/simulator/scenarios").data?.items ?? [];
  const path = `api/v1/simulator/sessions/${session.session_id}/scenarios`;
  const { data, error, reload } = useQuery<Items<Scenario>>(path, { every: 2_000, on: ["simulator.session.*"] });
  const [name, choose] = useState("");
  const [written, write] = useState<Written>({});
  const [when, plan] = useState({ starts_in: "", repeats_every: "" });
  const kind = kinds.find((each) => each.name === name) ?? kinds[0];
  const start = async (): Promise<void> => {
    if (!kind) return;
    const body = { name: kind.name, parameters: valuesOf(written, kind.parameters), ...(when.starts_in ? { starts_in: when.starts_in } : {}), ...(when.repeats_every ? { repeats_every: when.repeats_every } : {}) };
    await attempt(call("POST", path, body), () => `${words(kind.name)} begins ${when.starts_in ? `in ${when.starts_in}` : "now"}`);
    reload();
  };
  return (
    <Panel title="Scenarios" note="Storms that can be let loose on the running market, several at once.">
      <Fault text={error} />
      {kind && (
        <form onSubmit={(event) => { event.preventDefault(); void start(); }}>
          <div class="form">
            <Select label="Scenario" value={kind.name} options={kinds.map((each) => [each.name, words(each.name)] as const)} onValue={(chosen) => { choose(chosen); write({}); }} hint={kind.summary} />
            <Input label="Starts in" value={when.starts_in} onValue={(starts_in) => plan({ ...when, starts_in })} hint="empty: now; such as 10s" />
            <Input label="Repeats every" value={when.repeats_every} onValue={(repeats_every) => plan({ ...when, repeats_every })} hint="empty: once; such as 5m" />
          </div>
          <details class="gap">
            <summary>Parameters</summary>
            <SchemaForm schema={kind.parameters} written={written} onWritten={write} />
          </details>
          <div class="actions">
            <button type="submit" class="primary" disabled={Object.keys(faultsOf(written, kind.parameters)).length > 0}>
              Start scenario
            </button>
            <a href="#/market">Watch it on the market page</a>
          </div>
        </form>
      )}
      <div class="gap">
        <Table
          caption="Scenarios of this market"
          rows={[...(data?.items ?? [])].reverse()}
          keyOf={(each) => each.scenario_id}
          empty={<p class="note">None has been started in this market.</p>}
          columns={[
            { name: "Scenario", isText: true, cell: (each) => <b>{words(each.name)}</b> },
            { name: "State", isText: true, cell: (each) => <Status value={each.state} /> },
            { name: "Phase", isText: true, cell: (each) => each.phase ?? "–" },
            { name: "Begins", cell: (each) => stamp(each.starts_ts).slice(11) },
            { name: "Ends", cell: (each) => stamp(each.ends_ts).slice(11) },
            { name: "Every", isExtra: true, cell: (each) => each.repeats_every ?? "once" },
            {
              name: "Stop",
              cell: (each) =>
                ["SCHEDULED", "RUNNING"].includes(each.state) && (
                  <button type="button" class="icon small danger" aria-label={`Stop ${each.name}`} onClick={() => void attempt(call("DELETE", `${path}/${each.scenario_id}`)).then(reload)}>
                    ×
                  </button>
                ),
            },
          ]}
        />
      </div>
    </Panel>
  );
}

interface Score {
  [name: string]: unknown;
}

/** How real the market looks: the service's figures where it has them, else the gauges of its metrics. */
function Realism({ pair }: { pair: Pair }) {
  const has = can("GET /api/v1/simulator/realism/{}");
  const { data, error, reload } = useQuery<{ market: Score; scores: Score | null }>(has ? `api/v1/simulator/realism/${pair.pair_id}` : null);
  const rows = data ? figuresIn(data.market) : [];
  if (!has) return null;
  return (
    <Panel title="Realism" tools={<button type="button" class="quiet" onClick={reload}>Measure again</button>} note="Stylised facts of this market as it has traded.">
      {error && <p class="note">{error}</p>}
      {!data && !error && <p class="note">Being measured.</p>}
      <div class="scroll tall" tabIndex={0} role="group" aria-label="Realism figures">
        <table class="data">
          <caption class="hidden">Realism figures</caption>
          <tbody>
            {rows.map(([name, value]) => (
              <tr key={name}>
                <th scope="row" class="text">{words(name)}</th>
                <td>{figure(value, 4)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

/** Return the numbers of a nested answer with their names, 40 at most. */
function figuresIn(found: Score, before = ""): [string, number][] {
  return Object.entries(found)
    .flatMap(([name, value]): [string, number][] => {
      const path = before ? `${before} ${name}` : name;
      if (typeof value === "number") return [[path, value]];
      return value !== null && typeof value === "object" && !Array.isArray(value) ? figuresIn(value as Score, path) : [];
    })
    .slice(0, 40);
}

function AllSessions() {
  const found = useValue(sessions) ?? [];
  return (
    <Panel title="All markets">
      <Table
        caption="All markets"
        rows={found}
        keyOf={(each) => each.session_id}
        empty={<p class="note">No market runs.</p>}
        columns={[
          { name: "Pair", isText: true, cell: (each) => <button type="button" class="quiet" onClick={() => choosePair(each.pair_id)}>{pairOf(each.pair_id)?.symbol ?? each.pair_id.slice(0, 8)}</button> },
          { name: "Mode", isText: true, cell: (each) => each.mode.toLowerCase() },
          { name: "Speed", cell: (each) => `${each.speed}×` },
          { name: "State", isText: true, cell: (each) => <>{each.recording && <Badge tone="info">recording</Badge>} <Status value={each.state} /></> },
        ]}
      />
    </Panel>
  );
}
