/** The simulated market as a machine: how it runs, its storms, how real it looks. */

import { useState } from "preact/hooks";

import { call } from "../../live/api";
import { useQuery } from "../../live/query";
import { choosePair, chosenPair, loadSessions, pairOf, sessions } from "../../live/state";
import type { Items, Pair, Playback, Schema, Session } from "../../live/types";
import { useValue } from "../../live/value";
import { RangeFields, type Range } from "../backtests/range";
import { decimal, figure, modeOf, paceOf, stamp, words } from "../figures";
import { valuesOf, type Written } from "../schema";
import { SchemaForm } from "../schema_form";
import { attempt, Badge, Dialog, Empty, Fact, Input, Panel, Progress, Segments, Select, Status, Table } from "../widgets";
import { Realism } from "./realism_view";
import { Scenarios, type Kind } from "./scenarios";

const SPEEDS = ["0.1", "0.5", "1", "2", "5", "10", "50", "100"];

const PHASES = ["PRE_OPEN", "CONTINUOUS", "CLOSING_AUCTION", "HALTED", "CLOSED"];
const phaseOption = (phase: string): readonly [string, string] => [phase, words(phase)];

export function SessionPage() {
  const pair = pairOf(useValue(chosenPair));
  const running = useValue(sessions);
  const session = running?.find((each) => each.pair_id === pair?.pair_id) ?? null;
  if (running === null) return <Empty title="Loading" />;
  if (!pair) return <Empty title="No pair yet"><p>Add one on the market page.</p></Empty>;
  return (
    <div class="grid wide-left">
      <div class="stack">
        {session ? <Running pair={pair} session={session} /> : <Start key={pair.pair_id} pair={pair} />}
        {session && <Scenarios key={session.session_id} session={session} />}
      </div>
      <div class="stack">
        {session && !session.playback && <Realism key={session.session_id} pair={pair} />}
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
  const isLost = session.fault !== null;
  // An interruption begins by itself; it is told, and ended by another phase.
  const phases = PHASES.includes(session.phase) ? PHASES.map(phaseOption) : [...PHASES, session.phase].map(phaseOption);
  return (
    <Panel title="Market" tools={<Status value={session.state} />}>
      <dl class="large-facts">
        <Fact name="Pair">{pair.symbol}</Fact>
        <Fact name={`Reference price, ${pair.quote}`}>{decimal(session.reference_price)}</Fact>
        <Fact name="Trades">{decimal(String(session.trades))}</Fact>
        <Fact name="Mode">{modeOf(session)}</Fact>
        <Fact name="Phase">{words(session.phase)}</Fact>
      </dl>
      {session.playback && <Played playback={session.playback} />}
      {isLost && <p class="note">{session.fault}. It goes on by itself when the recording is back, or can be stopped.</p>}
      <div class="actions">
        <button type="button" class="primary" disabled={isLost} onClick={() => void change(session, { state: isPaused ? "RUNNING" : "PAUSED" })}>
          {isPaused ? "Go on" : "Pause"}
        </button>
        <form class="inline-form" onSubmit={(event) => { event.preventDefault(); void change(session, { step }, `The market went on by ${step}`); }}>
          <input aria-label="Length of a step" class="short" value={step} onInput={(event) => write(event.currentTarget.value)} />
          <button type="submit" disabled={!isPaused} title="While it is paused">
            Step
          </button>
        </form>
        {!session.playback && (
          <button type="button" aria-pressed={session.recording} onClick={() => void change(session, { recording: !session.recording }, session.recording ? "The recording is in the lake" : "The market is being recorded")}>
            {session.recording ? `End recording (${session.recorded_events} events)` : "Record"}
          </button>
        )}
        <button type="button" class="danger" onClick={() => stop(true)}>
          Stop for good
        </button>
      </div>
      {!session.playback && (
        <>
          <h3 class="gap">Phase</h3>
          <Segments label="Phase" value={session.phase} options={phases} onValue={(phase) => void change(session, { phase }, `The phase is ${words(phase)}`)} />
        </>
      )}
      <h3 class="gap">Speed</h3>
      <Segments label="Speed" value={session.playback?.pace === "FASTEST" ? "" : String(session.speed)} options={SPEEDS.map((speed) => [speed, `${speed}×`] as const)} onValue={(speed) => void change(session, { speed: Number(speed) })} />
      <dl class="facts gap">
        <Fact name="Seed">{session.seed}</Fact>
        {!session.playback && <Fact name="Deviation per update">{figure(session.price_deviation, 3)}</Fact>}
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

/** Where a recording is that is being played, as a bar. */
function Played({ playback }: { playback: Playback }) {
  const [first, last, now] = [playback.first, playback.last, playback.now].map((text) => Date.parse(text));
  const share = last! > first! ? (100 * (now! - first!)) / (last! - first!) : 100;
  return (
    <div class="gap">
      <Progress percent={playback.ended ? 100 : share} label="How much of the recording has been played" />
      <p class="note gap-small">
        A recording, now at {playback.now.slice(0, 19).replace("T", " ")} of {playback.first.slice(0, 19).replace("T", " ")} to {playback.last.slice(0, 19).replace("T", " ")} UTC
        {playback.ended ? "; it has ended" : `; at its end: ${words(playback.at_end)}`}
        {playback.passes > 0 && `; played ${playback.passes} times`}
      </p>
    </div>
  );
}

function Start({ pair }: { pair: Pair }) {
  const [mode, choose] = useState<"NORMAL" | "STRESS" | "CUSTOM">("NORMAL");
  const [wish, write] = useState({ initial_price: pair.initial_price ?? "", seed: "", price_deviation: "", execution_delay: "", market_update_interval: "", speed: "" });
  const kinds = useQuery<Items<Kind>>("api/v1/simulator/scenarios").data?.items ?? [];
  const custom = useQuery<Schema>(mode === "CUSTOM" ? "api/v1/simulator/custom-schema" : null).data;
  const [scenario, pick] = useState("");
  const [isPlayed, play] = useState(!pair.is_simulated);
  const [range, span] = useState<Range>({ start: "", end: "" });
  const [how, play_] = useState({ pace: "CLOCK", at_end: "PAUSE" });
  const [sections, fill] = useState<Record<string, Written>>({});
  const set = (name: keyof typeof wish) => (value: string) => write({ ...wish, [name]: value });
  const start = async (): Promise<void> => {
    const numbers = ["seed", "price_deviation", "speed"];
    const texts = Object.entries(wish).filter(([name, text]) => text.trim() && (!isPlayed || ["speed", "execution_delay"].includes(name)));
    const body: Record<string, unknown> = { pair_id: pair.pair_id, ...Object.fromEntries(texts.map(([name, text]) => [name, numbers.includes(name) ? Number(text) : text.trim()])) };
    if (isPlayed) body["playback"] = { ...range, ...how };
    else body["mode"] = mode;
    if (!isPlayed && mode === "STRESS" && scenario) body["scenarios"] = [{ name: scenario }];
    if (!isPlayed && mode === "CUSTOM" && custom) {
      const parts = Object.entries(custom.properties ?? {}).map(([name, part]) => [name, valuesOf(sections[name] ?? {}, rooted(part, custom))] as const);
      body["parameters"] = Object.fromEntries(parts.filter(([, values]) => Object.keys(values).length));
    }
    await attempt(call<Session>("POST", "api/v1/simulator/sessions", body), () => `The market of ${pair.symbol} runs`);
    await loadSessions().catch(() => undefined);
  };
  return (
    <Panel title={`Start a market for ${pair.symbol}`} note="What is left empty is as the settings of the service say.">
      <form onSubmit={(event) => { event.preventDefault(); void start(); }}>
        <Segments label="Mode" value={isPlayed ? "RECORDING" : mode} options={[["NORMAL", "Normal"], ["STRESS", "Stress"], ["CUSTOM", "Custom"], ["RECORDING", "Recording"]]} onValue={(chosen) => { play(chosen === "RECORDING"); if (chosen !== "RECORDING") choose(chosen as typeof mode); }} />
        {isPlayed && (
          <div class="form gap">
            <RangeFields pair={pair} range={range} onRange={span} />
            <Select label="Pace" value={how.pace} options={[["CLOCK", "by the clock, times its speed"], ["FASTEST", "as fast as possible"]]} onValue={(pace) => play_({ ...how, pace })} />
            <Select label="At its end" value={how.at_end} options={[["PAUSE", "pause"], ["STOP", "stop"], ["LOOP", "play it again"]]} onValue={(at_end) => play_({ ...how, at_end })} />
            <Input label="Execution delay" value={wish.execution_delay} onValue={set("execution_delay")} hint="such as 20ms" />
            <Input label="Speed" value={wish.speed} onValue={set("speed")} inputMode="decimal" hint="0.1 to 100" />
          </div>
        )}
        {!isPlayed && <div class="form gap">
          <Input label="First price" unit={pair.quote} value={wish.initial_price} onValue={set("initial_price")} inputMode="decimal" />
          <Input label="Seed" value={wish.seed} onValue={set("seed")} inputMode="numeric" hint="the same seed gives the same market" />
          <Input label="Deviation per update" value={wish.price_deviation} onValue={set("price_deviation")} inputMode="decimal" hint="relative, such as 0.0002" />
          <Input label="Update every" value={wish.market_update_interval} onValue={set("market_update_interval")} hint="such as 200ms" />
          <Input label="Execution delay" value={wish.execution_delay} onValue={set("execution_delay")} hint="such as 20ms" />
          <Input label="Speed" value={wish.speed} onValue={set("speed")} inputMode="decimal" hint="0.1 to 100" />
          {mode === "STRESS" && <Select label="Scenario" value={scenario} options={[["", "choose one"], ...kinds.map((kind) => [kind.name, words(kind.name)] as const)]} onValue={pick} hint={kinds.find((kind) => kind.name === scenario)?.summary} />}
        </div>}
        {mode === "CUSTOM" && !isPlayed &&
          Object.entries(custom?.properties ?? {}).map(([name, part]) => (
            <details key={name} class="gap">
              <summary>{words(name)}</summary>
              <SchemaForm schema={rooted(part, custom!)} written={sections[name] ?? {}} onWritten={(written) => fill({ ...sections, [name]: written })} />
            </details>
          ))}
        <div class="actions">
          <button type="submit" class="primary" disabled={isPlayed ? !range.start : mode === "STRESS" && !scenario}>
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
          { name: "Mode", isText: true, cell: (each) => modeOf(each) },
          { name: "Speed", cell: (each) => paceOf(each) },
          { name: "State", isText: true, cell: (each) => <>{each.recording && <Badge tone="info">recording</Badge>} {each.fault ? <Badge tone="fail">recording is gone</Badge> : <Status value={each.state} />}</> },
        ]}
      />
    </Panel>
  );
}
