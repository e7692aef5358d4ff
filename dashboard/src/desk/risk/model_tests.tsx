/** Whether the figures can be relied on: each model's light, and the tests behind it. */

import { useState } from "preact/hooks";

import { call } from "../../live/api";
import { useQuery } from "../../live/query";
import type { Items, Position } from "../../live/types";
import { figure, percent, stamp, words } from "../figures";
import { attempt, Badge, Panel, Segments, Table, type Tone } from "../widgets";

interface Judgement {
  test: string;
  p_value: number | null;
  reason: string | null;
}
interface Model {
  method: string;
  /** In place of everything else, where the method could not be fitted. */
  reason?: string;
  light?: string;
  observations?: number;
  exceptions?: number;
  adjusted_p_value?: number | null;
  judgements?: Judgement[];
}
interface ModelTest {
  test_id: string;
  created_ts: string;
  confidence_level: string;
  window: number;
  interval: string;
  observations: number;
  models: Model[];
}

const TONES: Record<string, Tone> = { GREEN: "pass", YELLOW: "warn", RED: "fail" };

export function ModelTests({ position }: { position: Position }) {
  const { data, reload } = useQuery<Items<ModelTest>>(`api/v1/risk/model-tests/${position.position_id}?limit=1`);
  const [busy, set] = useState(false);
  const [window_, take] = useState("250");
  const newest = data?.items[0];
  const run = async (): Promise<void> => {
    set(true);
    await attempt(call("POST", "api/v1/risk/model-tests", { position_id: position.position_id, window: Number(window_) }), () => "The models have been tested");
    reload();
    set(false);
  };
  return (
    <Panel
      title="Are the figures right?"
      note={
        newest
          ? `${percent(Number(newest.confidence_level), 1)} figures of ${newest.observations} intervals of ${newest.interval}, each from the ${newest.window} before it, held against what came; ${stamp(newest.created_ts)} UTC.`
          : "Forecasts of the models over the pair's own history, held against what came. Green: nothing speaks against the model."
      }
      tools={
        <>
          <Segments label="Intervals behind each forecast" value={window_} options={[["100", "100"], ["250", "250"], ["500", "500"]]} onValue={take} />
          <button type="button" disabled={busy} onClick={() => void run()}>
            {busy ? "Being tested" : newest ? "Test again" : "Test the models"}
          </button>
        </>
      }
    >
      {newest && <Lights test={newest} />}
    </Panel>
  );
}

function Lights({ test }: { test: ModelTest }) {
  const expected = (model: Model): number => (model.observations ?? 0) * (1 - Number(test.confidence_level));
  return (
    <Table
      caption="Models and their lights"
      rows={test.models}
      keyOf={(model) => model.method}
      columns={[
        { name: "Model", isText: true, cell: (model) => <b>{words(model.method)}</b> },
        { name: "Light", isText: true, cell: (model) => (model.light ? <Badge tone={TONES[model.light] ?? "idle"}>{model.light.toLowerCase()}</Badge> : <small>{model.reason}</small>) },
        { name: "Exceeded", cell: (model) => (model.light ? `${model.exceptions} of ${figure(expected(model), 3)} expected` : "–") },
        { name: "p of all", cell: (model) => figure(model.adjusted_p_value, 2) },
        {
          name: "Tests",
          isText: true,
          isExtra: true,
          cell: (model) => (
            <span class="lights">
              {(model.judgements ?? []).map((each) => (
                <Badge key={each.test} tone={toneOf(each)} title={each.reason ?? `p ${figure(each.p_value, 3)}`}>
                  {words(each.test)}
                </Badge>
              ))}
            </span>
          ),
        },
      ]}
    />
  );
}

/** One test alone, as the light of all judges them: 0.05 and 0.001. */
const toneOf = ({ p_value: p }: Judgement): Tone => (p === null ? "idle" : p >= 0.05 ? "pass" : p >= 0.001 ? "warn" : "fail");
