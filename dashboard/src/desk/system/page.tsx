/** How the service is: what it does a second, how long it takes, what waits, what it needs. */

import { useEffect, useRef, useState } from "preact/hooks";

import { address, textOf, told } from "../../live/api";
import { useFetched } from "../../live/query";
import { bytes, figure, percent, short, words } from "../figures";
import { Spark } from "../spark";
import { Fact, Fault, Panel, Status, Table } from "../widgets";
import { bucketsOf, quantile, samplesOf, since, total, type Sample } from "./metrics";

const EVERY_MS = 2_000;
const KEPT = 90;

interface Reading {
  at: number;
  samples: Sample[];
}

interface Health {
  state: string;
  checks: Record<string, { state: string; detail?: string; [more: string]: unknown }>;
}

function useReadings(): { readings: Reading[]; error: string | null } {
  const readings = useRef<Reading[]>([]);
  const [error, set] = useState<string | null>(null);
  const [, draw] = useState(0);
  useEffect(() => {
    let isPresent = true;
    const read = (): void => {
      textOf("metrics").then(
        (text) => {
          if (!isPresent) return;
          readings.current = [...readings.current, { at: Date.now() / 1e3, samples: samplesOf(text) }].slice(-KEPT);
          set(null);
          draw((count) => count + 1);
        },
        (found: unknown) => isPresent && set(told(found)),
      );
    };
    read();
    const timer = setInterval(() => document.visibilityState === "visible" && read(), EVERY_MS);
    return () => {
      isPresent = false;
      clearInterval(timer);
    };
  }, []);
  return { readings: readings.current, error };
}

const P = "market_maker_";

/** Return a counter's growth per second between readings. */
function rates(readings: Reading[], name: string, labels: Record<string, string> = {}): number[] {
  return readings.slice(1).map((reading, k) => {
    const before = readings[k]!;
    const [now, then] = [total(reading.samples, P + name, labels) ?? 0, total(before.samples, P + name, labels) ?? 0];
    return Math.max(0, (now - then) / (reading.at - before.at));
  });
}

export function SystemPage() {
  const { readings, error } = useReadings();
  const health = useFetched<Health>("health", async () => (await fetch(address("health"))).json() as Promise<Health>, { every: 5_000 });
  const last = readings[readings.length - 1];
  const of = (name: string, labels: Record<string, string> = {}): number | null => (last ? total(last.samples, P + name, labels) : null);
  const gauges = (name: string): number[] => readings.map((reading) => total(reading.samples, P + name) ?? 0);
  const jobs = (kind: string): string => `${of("backtest_jobs", { kind, state: "running" }) ?? 0} running, ${of("backtest_jobs", { kind, state: "pending" }) ?? 0} waiting`;
  const newest = (values: number[]): string => (values.length ? short(values[values.length - 1]!) : "–");
  const orders = rates(readings, "simulated_orders_total");
  const trades = rates(readings, "simulated_trades_total");
  const requests = rates(readings, "http_requests_total");
  const cpu = gauges("process_cpu_ratio");
  const memory = gauges("process_resident_memory_bytes");
  return (
    <div class="stack">
      <Fault text={error} />
      <div class="grid three">
        <Tile name="Orders a second" value={newest(orders)} values={orders} note={`${short(of("simulated_orders_total") ?? 0)} in all`} />
        <Tile name="Trades a second" value={newest(trades)} values={trades} note={`${short(of("virtual_volume_total") ?? 0)} of virtual volume`} />
        <Tile name="Requests a second" value={newest(requests)} values={requests} note={`${of("stream_clients") ?? 0} readers of the stream`} />
        <Tile name="Processor" value={cpu.length ? percent(cpu[cpu.length - 1]!, 0) : "–"} values={cpu} note="of one core" />
        <Tile name="Memory" value={memory.length ? bytes(memory[memory.length - 1]!) : "–"} values={memory} note={`${of("process_threads") ?? "–"} threads, ${of("process_open_files") ?? "–"} files`} />
        <Tile name="Waiting events" value={String(of("outbox_depth") ?? "–")} values={gauges("outbox_depth")} note={`oldest ${figure(of("relay_lag_seconds") ?? 0, 2)} s; ${of("command_queue") ?? 0} commands queued`} />
      </div>
      <div class="grid two">
        <Latencies readings={readings} />
        <Panel title="Health" tools={health.data && <Status value={health.data.state} />}>
          <Fault text={health.error} />
          <Table
            caption="Checks of the service"
            rows={Object.entries(health.data?.checks ?? {})}
            keyOf={([name]) => name}
            columns={[
              { name: "Check", isText: true, cell: ([name]) => words(name) },
              { name: "State", isText: true, cell: ([, check]) => <Status value={check.state} /> },
              { name: "Said", isText: true, cell: ([, check]) => check.detail ?? "" },
            ]}
          />
          <dl class="facts gap">
            <Fact name="Bus">{of("bus_connected") ? "connected" : "away"}</Fact>
            <Fact name="Relay">{of("relay_active") ? "here" : "elsewhere"}</Fact>
            <Fact name="Events sent">{short(of("events_published_total") ?? 0)}</Fact>
            {of("database_pool") !== null && <Fact name="Database connections">{`${of("database_pool", { state: "size" }) ?? 0}, ${of("database_pool", { state: "idle" }) ?? 0} idle`}</Fact>}
            <Fact name="Readers sent away">{of("stream_evictions_total") ?? 0}</Fact>
            <Fact name="Backtests">{jobs("run")}</Fact>
            <Fact name="Sweeps">{jobs("sweep")}</Fact>
            <Fact name="Refused commands">{of("commands_refused_total") ?? 0}</Fact>
          </dl>
        </Panel>
      </div>
    </div>
  );
}

function Tile({ name, value, values, note }: { name: string; value: string; values: number[]; note: string }) {
  return (
    <section class="panel tile">
      <h2>{name}</h2>
      <p class="tile-value">{value}</p>
      <Spark values={values} label={`${name}: last three minutes`} />
      <p class="note">{note}</p>
    </section>
  );
}

const TIMES: readonly (readonly [string, string, Record<string, string>])[] = [
  ["Order, until it is durable", "operation_seconds", { operation: "place_order" }],
  ["Cancel, until it is durable", "operation_seconds", { operation: "cancel_order" }],
  ["Commit of a batch", "commit_seconds", {}],
  ["Any HTTP request", "http_seconds", {}],
  ["Refresh of a market", "book_update_seconds", {}],
  ["Lag of the event loop", "event_loop_lag_seconds", {}],
];

function Latencies({ readings }: { readings: Reading[] }) {
  const [first, last] = [readings[0], readings[readings.length - 1]];
  const rows = TIMES.map(([name, metric, labels]) => {
    const all = last ? bucketsOf(last.samples, P + metric, labels) : [];
    const recent = first && last && first !== last ? since(all, bucketsOf(first.samples, P + metric, labels)) : all;
    const chosen = (recent[recent.length - 1]?.count ?? 0) > 0 ? recent : all;
    return { name, buckets: chosen, count: chosen[chosen.length - 1]?.count ?? 0 };
  });
  const ms = (value: number | null): string => (value === null ? "–" : figure(value * 1e3, 3));
  return (
    <Panel title="Latency" note="In ms, estimated from the buckets of the metrics since this page was opened; before that where nothing came since.">
      <Table
        caption="Latency percentiles in ms"
        rows={rows}
        keyOf={(row) => row.name}
        columns={[
          { name: "What", isText: true, cell: (row) => row.name },
          { name: "Count", cell: (row) => short(row.count) },
          { name: "p50", cell: (row) => ms(quantile(row.buckets, 0.5)) },
          { name: "p95", cell: (row) => ms(quantile(row.buckets, 0.95)) },
          { name: "p99", cell: (row) => ms(quantile(row.buckets, 0.99)) },
        ]}
      />
    </Panel>
  );
}
