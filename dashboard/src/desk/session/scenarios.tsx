/** Storms of the running market: which there are, started, planned and stopped here. */

import { useEffect, useState } from "preact/hooks";

import { call } from "../../live/api";
import { useQuery } from "../../live/query";
import { loadSessions } from "../../live/state";
import type { Items, Schema, Session } from "../../live/types";
import { stamp, words } from "../figures";
import { faultsOf, valuesOf, type Written } from "../schema";
import { SchemaForm } from "../schema_form";
import { attempt, Input, Panel, Select, Status, Table } from "../widgets";

export interface Kind {
  name: string;
  summary: string;
  parameters: Schema;
}

/** What can happen to a market that is a recording: faults of the venue, which change nothing of the flow. */
const FAULTS = ["feed_gap", "latency_spike", "order_rejects", "partial_outage"];

export function Scenarios({ session }: { session: Session }) {
  const all = useQuery<Items<Kind>>("api/v1/simulator/scenarios").data?.items ?? [];
  const kinds = session.playback ? all.filter((each) => FAULTS.includes(each.name)) : all;
  const path = `api/v1/simulator/sessions/${session.session_id}/scenarios`;
  const reload = (): void => void loadSessions().catch(() => undefined);
  const isActive = session.scenarios.some((each) => ["SCHEDULED", "RUNNING"].includes(each.state));
  useEffect(() => {
    if (!isActive) return;
    const timer = setInterval(reload, 1_000);
    return () => clearInterval(timer);
  }, [isActive]);
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
          rows={[...session.scenarios].reverse()}
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
