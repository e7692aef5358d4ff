/** How real the market looks: gauges of its stylised facts, with the band that real markets lie in. */

import { useState } from "preact/hooks";

import { get } from "../../live/api";
import type { Pair } from "../../live/types";
import { figure, short } from "../figures";
import { attempt, Badge, Panel } from "../widgets";
import { gaugesOf, scaleOf, type Gauge, type Metric } from "./realism";

interface Measured {
  market: { quotes: number; trades: number; start_ts: string; end_ts: string; metrics: Metric[] };
}

export function Realism({ pair }: { pair: Pair }) {
  const [found, set] = useState<Measured["market"] | null>(null);
  const [busy, be] = useState(false);
  const measure = async (): Promise<void> => {
    be(true);
    const answer = await attempt(get<Measured>(`api/v1/simulator/realism/${pair.pair_id}`));
    if (answer) set(answer.market);
    be(false);
  };
  const gauges = found ? gaugesOf(found.metrics) : [];
  const missing = found ? found.metrics.filter((metric) => !gauges.some((gauge) => gauge.key === metric.key)) : [];
  return (
    <Panel
      title="Realism"
      tools={
        <button type="button" disabled={busy} onClick={() => void measure()}>
          {busy ? "Being measured" : found ? "Measure again" : "Measure"}
        </button>
      }
      note={found ? `From ${short(found.quotes)} quotes and ${short(found.trades)} trades; the band is where real markets lie.` : "Stylised facts of this market as it has traded, held against what real markets show."}
    >
      {found && (
        <ul class="gauges">
          {gauges.map((gauge) => (
            <GaugeView key={gauge.key} gauge={gauge} />
          ))}
        </ul>
      )}
      {missing.length > 0 && (
        <details class="gap">
          <summary>{missing.length} could not be measured</summary>
          <ul class="plain">
            {missing.map((metric) => (
              <li key={metric.key}>
                {metric.title}: <small>{metric.reason ?? "too few observations"}</small>
              </li>
            ))}
          </ul>
        </details>
      )}
    </Panel>
  );
}

const TONES = { "as real": "pass", apart: "warn" } as const;

function GaugeView({ gauge }: { gauge: Gauge }) {
  const scale = scaleOf(gauge);
  return (
    <li class="gauge">
      <span>
        {gauge.title} <small>{gauge.figure}</small>
      </span>
      <b>{figure(gauge.value, 3)}</b>
      {scale ? (
        <span class="gauge-bar" role="img" aria-label={`${figure(gauge.value, 3)}; real markets: ${gauge.expected}`}>
          <i style={{ left: `${scale.from}%`, width: `${scale.to - scale.from}%` }} />
          <span class="needle" style={{ left: `${scale.needle}%` }} />
        </span>
      ) : (
        <span />
      )}
      {gauge.verdict === "told" ? <small>{gauge.expected}</small> : <Badge tone={TONES[gauge.verdict]} title={`real markets: ${gauge.expected}`}>{gauge.verdict}</Badge>}
    </li>
  );
}
