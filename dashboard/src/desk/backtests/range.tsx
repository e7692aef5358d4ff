/** Which stretch of recorded data a run replays; where nothing is recorded, the market is recorded here. */

import { useEffect, useState } from "preact/hooks";

import { call } from "../../live/api";
import { useQuery } from "../../live/query";
import { loadSessions, sessionOf } from "../../live/state";
import { seconds, type Items, type Pair, type RecordedDay, type Session } from "../../live/types";
import { decimal } from "../figures";
import { attempt, Empty, Input, Select } from "../widgets";

export interface Range {
  start: string;
  end: string;
}

const iso = (ns: string): string => new Date(seconds(ns) * 1000).toISOString();

/** Return an instant a little inside, so that rounding to ms leaves no gap at the edge. */
function inside(ns: string, ms: number): string {
  return new Date(Math.round(seconds(ns) * 1000) + ms).toISOString();
}

/** Return the recorded days of a pair that can be replayed, newest first. */
export function useDays(pair: Pair | null): { days: RecordedDay[]; isKnown: boolean; reload: () => void } {
  const { data, reload } = useQuery<Items<RecordedDay>>(pair ? `api/v1/market-data/catalogue?pair_id=${pair.pair_id}` : null, { on: ["simulator.session.recorded", "market_data.import.completed"] });
  const days = (data?.items ?? []).filter((day) => ["book", "l3", "orders", "depth"].includes(day.kind) || day.kind === "book");
  return { days: [...days].sort((a, b) => b.day.localeCompare(a.day)), isKnown: data !== null, reload };
}

export function RangeFields({ pair, range, onRange }: { pair: Pair; range: Range; onRange: (range: Range) => void }) {
  const { days, isKnown } = useDays(pair);
  const [chosen, choose] = useState("all");
  const key = days.map((day) => `${day.day}${day.last_ts}`).join();
  useEffect(() => {
    const picked = chosen === "all" ? days : days.filter((day) => day.day === chosen);
    const [newest, oldest] = [picked[0], picked[picked.length - 1]];
    if (newest && oldest) onRange({ start: inside(oldest.first_ts, 1), end: inside(newest.last_ts, -1) });
  }, [key, chosen, pair.pair_id]);
  if (isKnown && days.length === 0) return <Recorder pair={pair} />;
  const rows = days.reduce((sum, day) => sum + day.rows, 0);
  return (
    <>
      <Select
        label="Recorded"
        value={chosen}
        options={[["all", days.length === 1 ? "all of it" : `all ${days.length} tables`], ...days.map((day) => [day.day, day.day] as const)]}
        onValue={choose}
        hint={days.length ? `${decimal(String(rows))} events, ${iso(days[days.length - 1]!.first_ts).slice(0, 16).replace("T", " ")} on` : "being asked for"}
      />
      <Input label="From, UTC" value={range.start} onValue={(start) => onRange({ ...range, start })} hint="a day or an instant" />
      <Input label="To, UTC" value={range.end} onValue={(end) => onRange({ ...range, end })} hint="included" />
    </>
  );
}

const RECORD_S = 15;

function Recorder({ pair }: { pair: Pair }) {
  const [left, count] = useState<number | null>(null);
  const session = sessionOf(pair.pair_id);
  useEffect(() => {
    if (left === null || left <= 0) return;
    const timer = setTimeout(() => count(left - 1), 1_000);
    return () => clearTimeout(timer);
  }, [left]);
  useEffect(() => {
    if (left !== 0 || !session) return;
    void attempt(call<Session>("PATCH", `api/v1/simulator/sessions/${session.session_id}`, { recording: false }), () => "The recording is in the lake").then(() => {
      count(null);
      void loadSessions().catch(() => undefined);
    });
  }, [left]);
  const start = async (): Promise<void> => {
    if (!session) return;
    const begun = await attempt(call<Session>("PATCH", `api/v1/simulator/sessions/${session.session_id}`, { recording: true }));
    if (begun) count(RECORD_S);
  };
  return (
    <Empty title={`Nothing of ${pair.symbol} is recorded`}>
      {session ? (
        <>
          <p>A backtest replays recorded markets. Record the running one for a moment, or import files on the data page.</p>
          <button type="button" class="primary" disabled={left !== null} onClick={() => void start()}>
            {left === null ? `Record ${RECORD_S} s of the market` : left > 0 ? `Recording, ${left} s left` : "Being published"}
          </button>
        </>
      ) : (
        <p>A backtest replays recorded markets. Import files on the data page, or start the market of this pair and record it.</p>
      )}
    </Empty>
  );
}
