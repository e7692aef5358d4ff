/** What is recorded: coverage and quality by day, and what is being imported. */

import { useState } from "preact/hooks";

import { call } from "../../live/api";
import { useQuery } from "../../live/query";
import type { Items, RecordedDay } from "../../live/types";
import { bytes, decimal, short, stamp, words } from "../figures";
import { attempt, Empty, Fault, Input, Panel, Progress, Status, Table } from "../widgets";
import { daysOf } from "./days";

interface Import {
  import_id: string;
  source: string;
  importer: string;
  state: string;
  verdict: string;
  progress_percent: number;
  rows: number;
  created_ts: string;
  error: string | null;
}

export function DataPage() {
  const { data, error, reload } = useQuery<Items<RecordedDay>>("api/v1/market-data/catalogue", { on: ["market_data.import.completed", "simulator.session.recorded"] });
  const days = daysOf(data?.items ?? []);
  const pairs = [...new Set(days.map((day) => `${day.venue} ${day.symbol}`))];
  return (
    <div class="grid wide-left">
      <Panel title="Recorded days" note="Each square is a day (UTC) of a pair: its quality, and how much of it there is.">
        <Fault text={error} retry={reload} />
        {data && days.length === 0 && (
          <Empty title="Nothing is recorded">
            <p>Record a running market on the session page, or put files into the inbox folder and import them here.</p>
          </Empty>
        )}
        {pairs.map((name) => (
          <div key={name} class="gap">
            <h3>{name}</h3>
            <div class="calendar gap-small" role="list" aria-label={`Days of ${name}`}>
              {days
                .filter((day) => `${day.venue} ${day.symbol}` === name)
                .map((day) => (
                  <div key={day.day} role="listitem" class={`day ${day.verdict}`} title={`${day.day}: ${day.kinds.join(", ")}; ${decimal(String(day.rows))} rows, ${bytes(day.bytes)}; ${words(day.verdict)}`}>
                    {day.day.slice(5)}
                    <small>{day.share >= 0.995 ? "whole" : day.share >= 0.01 ? `${Math.round(day.share * 100)} %` : "< 1 %"}</small>
                  </div>
                ))}
            </div>
          </div>
        ))}
        {days.length > 0 && (
          <div class="gap">
            <Table
              caption="Recorded tables"
              rows={data!.items.slice(0, 200)}
              keyOf={(day) => `${day.venue}${day.symbol}${day.day}${day.kind}`}
              columns={[
                { name: "Pair", isText: true, cell: (day) => day.symbol },
                { name: "Venue", isText: true, isExtra: true, cell: (day) => day.venue },
                { name: "Day", isText: true, cell: (day) => day.day },
                { name: "Table", isText: true, cell: (day) => day.kind },
                { name: "Rows", cell: (day) => short(day.rows) },
                { name: "Size", isExtra: true, cell: (day) => bytes(day.bytes) },
                { name: "From", isExtra: true, cell: (day) => stamp(day.first_ts).slice(11) },
                { name: "To", isExtra: true, cell: (day) => stamp(day.last_ts).slice(11) },
              ]}
            />
          </div>
        )}
      </Panel>
      <Imports />
    </div>
  );
}

/** What may be done to get a file in: each changes the data, or what is accepted of them. */
const REPAIRS = [
  ["offset_negative_latency", "shift local times where news came before it was sent"],
  ["sort", "put rows into the order of time"],
  ["drop_off_book", "leave out trades outside the book"],
  ["force", "import what a rule of quality refuses"],
  ["replace", "take the place of days from other files"],
] as const;

function Imports() {
  const { data, error, reload } = useQuery<Items<Import>>("api/v1/market-data/imports?limit=50", { on: ["market_data.*"] });
  const [path, write] = useState("");
  const [named, name_] = useState({ venue: "", symbol: "", tick_size: "", lot_size: "" });
  const [repairs, repair] = useState<string[]>([]);
  const start = async (): Promise<void> => {
    const given = Object.entries(named).filter(([, text]) => text.trim());
    const body = { path: path.trim(), ...Object.fromEntries(given.map(([key, text]) => [key, text.trim()])), ...Object.fromEntries(repairs.map((each) => [each, true])) };
    const begun = await attempt(call<Import>("POST", "api/v1/market-data/imports", body), () => `${path} has been queued`);
    if (begun) write("");
    reload();
  };
  return (
    <Panel title="Imports" note="Files of the inbox folder of the service; the format is found by itself.">
      <form onSubmit={(event) => { event.preventDefault(); void start(); }}>
        <div class="inline-form">
          <Input label="File in the inbox" value={path} onValue={write} />
          <button type="submit" class="primary" disabled={path.trim() === ""}>
            Import
          </button>
        </div>
        <details class="gap">
          <summary>What the file does not say, and repairs</summary>
          <div class="form">
            {(Object.keys(named) as (keyof typeof named)[]).map((key) => (
              <Input key={key} label={words(key)} value={named[key]} onValue={(text) => name_({ ...named, [key]: text })} />
            ))}
          </div>
          <div class="gap checks">
            {REPAIRS.map(([key, text]) => (
              <label class="check" key={key}>
                <input type="checkbox" checked={repairs.includes(key)} onChange={(event) => repair(event.currentTarget.checked ? [...repairs, key] : repairs.filter((each) => each !== key))} /> {text}
              </label>
            ))}
          </div>
        </details>
      </form>
      <div class="gap">
        <Fault text={error} />
        <Table
          caption="Imports"
          rows={data?.items ?? []}
          keyOf={(each) => each.import_id}
          empty={<p class="note">Nothing has been imported yet.</p>}
          columns={[
            { name: "File", isText: true, cell: (each) => <span class="wrapped">{each.source.split("/").pop()}</span> },
            {
              name: "State",
              isText: true,
              cell: (each) =>
                each.state === "RUNNING" || each.state === "PUBLISHING" ? (
                  <span class="line">
                    <Progress percent={each.progress_percent} label={`Import of ${each.source}`} /> {each.progress_percent.toFixed(0)} %
                  </span>
                ) : (
                  <>
                    <Status value={each.state} /> {each.error && <small class="wrapped">{each.error}</small>}
                  </>
                ),
            },
            { name: "Quality", isText: true, cell: (each) => each.state === "COMPLETED" && <Status value={each.verdict} /> },
            { name: "Rows", cell: (each) => short(each.rows) },
          ]}
        />
      </div>
    </Panel>
  );
}
