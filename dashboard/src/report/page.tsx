/** The report: what is assumed first, then whether to believe it, then what was earned and why. */

import type { ComponentChildren } from "preact";
import { useMemo, useState } from "preact/hooks";

import { FillsChart } from "../charts/fills_chart";
import { ThemeContext, useThemeChoice } from "../charts/theme";
import { TimeChart, zoomGroup } from "../charts/time_chart";
import { Attribution } from "./attribution";
import { Band } from "./band";
import { CapacityTable } from "./capacity";
import { Compared } from "./compared";
import { curvesOf, seconds, type Report, type Run } from "./data";
import { KeyFigures } from "./figures";
import { decimal, duration, figure, instant, letter, signed } from "./format";
import { FragilityMaps } from "./fragility_maps";
import { LimitsTable } from "./limits";
import { Markouts } from "./markouts";
import { QualityCards } from "./quality";
import { Reproducibility } from "./reproducibility";
import { SurfaceMap } from "./surface_map";

export function Page({ report }: { report: Report }) {
  const [theme, toggle] = useThemeChoice();
  const [chosen, choose] = useState(0);
  const run = report.runs[chosen]!;
  const isMany = report.runs.length > 1;
  return (
    <ThemeContext.Provider value={theme}>
      <header class="top">
        <div>
          <p class="kind">Backtest report</p>
          <h1>{isMany ? `${report.runs.length} runs side by side` : run.strategy.name}</h1>
        </div>
        <button type="button" onClick={toggle}>
          {theme === "dark" ? "Light" : "Dark"} colours
        </button>
      </header>
      <main>
        {report.notes.map((note) => (
          <p key={note} class="caution">
            {note}
          </p>
        ))}
        {isMany && <Compared report={report} />}
        {isMany && (
          <nav class="tabs" aria-label="Runs">
            {report.runs.map((each, k) => (
              <button type="button" key={each.run_id} aria-pressed={k === chosen} onClick={() => choose(k)}>
                <b>{letter(k)}</b> {each.strategy.name}
              </button>
            ))}
          </nav>
        )}
        <RunReport key={run.run_id} run={run} />
      </main>
      <footer>
        Written {instant(seconds(report.created_ts))} UTC. This page holds all of its data and asks for nothing over a
        network.
      </footer>
    </ThemeContext.Provider>
  );
}

export function Section(props: { id: string; title: string; note?: string; children: ComponentChildren }) {
  return (
    <section id={props.id} aria-labelledby={`${props.id}-title`}>
      <h2 id={`${props.id}-title`}>{props.title}</h2>
      {props.note && <p class="note">{props.note}</p>}
      {props.children}
    </section>
  );
}

function RunReport({ run }: { run: Run }) {
  const { analysis, pair } = run;
  const net = Number(analysis.profit.net);
  const length = Number(BigInt(analysis.end_ts) - BigInt(analysis.start_ts));
  return (
    <>
      <div class="headline">
        <dl>
          <Fact name="Net profit" class={net < 0 ? "loss" : "gain"}>
            {signed(analysis.profit.net)} <small>{pair.currency}</small>
          </Fact>
          <Fact name="Sharpe ratio, annual">{figure(analysis.returns.sharpe.ratio, 3)}</Fact>
          <Fact name="Fills">{decimal(String(analysis.trading.fills))}</Fact>
          <Fact name="Length">{duration(length)}</Fact>
        </dl>
        <p class="what">
          <b>{run.strategy.kind}</b> on {pair.venue} <b>{pair.symbol}</b>, {instant(seconds(analysis.start_ts))} to{" "}
          {instant(seconds(analysis.end_ts))} UTC · run <code>{run.run_id}</code>
        </p>
      </div>
      <Section
        id="band"
        title="What the fills are assumed to be"
        note="The same run, its orders last in every queue, placed by its own queue model, and first in every queue. The truth lies somewhere in this band."
      >
        <Band run={run} />
      </Section>
      <Section
        id="quality"
        title="Whether to believe it"
        note="Six judgements, each with its reasons. There is no total: a fine edge on broken data is not half good."
      >
        <QualityCards quality={run.quality} />
      </Section>
      {run.summary.limits && (
        <Section
          id="limits"
          title="What its limits did"
          note={`The guard sees what the strategy sees, after latency. Quantities in ${pair.quantity_unit}, amounts in ${pair.currency}, messages by number.`}
        >
          <LimitsTable limits={run.summary.limits} />
        </Section>
      )}
      <Section id="figures" title="Figures">
        <KeyFigures run={run} />
      </Section>
      <Charts run={run} />
      <Section
        id="profit"
        title="Where the profit came from"
        note="Spread capture is what trading away from the mid earned; inventory is what the mid then did to the positions held."
      >
        <Attribution run={run} />
      </Section>
      <Section
        id="markouts"
        title="What the market did after the fills"
        note="The mid a while after each fill against its price. Below zero the market went against the fill."
      >
        <Markouts run={run} />
      </Section>
      {run.fragility && (
        <Section
          id="fragility"
          title="How fragile it is"
          note="Net profit of the same run under other latencies, queue models and fees."
        >
          <FragilityMaps fragility={run.fragility} currency={pair.currency} />
        </Section>
      )}
      {run.capacity && (
        <Section
          id="capacity"
          title="How much size it bears"
          note="The same run with larger orders, a larger limit of inventory and more funds."
        >
          <CapacityTable capacity={run.capacity} currency={pair.currency} />
        </Section>
      )}
      {run.surface && (
        <Section id="surface" title="How the result lies among its parameters">
          <SurfaceMap surface={run.surface} currency={pair.currency} />
        </Section>
      )}
      <Section id="reproducibility" title="How to repeat it">
        <Reproducibility run={run} />
      </Section>
    </>
  );
}

function Fact(props: { name: string; class?: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{props.name}</dt>
      <dd class={props.class}>{props.children}</dd>
    </div>
  );
}

/** Equity, drawdown, price with fills and inventory, over one span of time that is zoomed once. */
function Charts({ run }: { run: Run }) {
  const { analysis, pair } = run;
  const group = `run-${run.run_id}`;
  const range: [number, number] = [seconds(analysis.start_ts), seconds(analysis.end_ts)];
  const charts = useMemo(() => {
    const { equity, drawdown, inventory } = curvesOf(run);
    return {
      equity: [{ label: `equity, ${pair.currency}`, line: equity, colour: "equity" }],
      drawdown: [{ label: `fall from the peak, ${pair.currency}`, line: drawdown, colour: "loss", isFilled: true }],
      inventory: [
        { label: `inventory, ${pair.quantity_unit}`, line: inventory, colour: "inventory", isStep: true, isFilled: true },
      ],
    };
  }, [run]);
  const money = (value: number): string => decimal(String(Number(value.toPrecision(9))));
  const shared = { range, group };
  return (
    <Section id="charts" title="Over time">
      <div class="tools">
        <span>Drag over a stretch to zoom all four charts; Ctrl and wheel, or:</span>
        <button type="button" onClick={() => zoomGroup(group, 0.5)} aria-label="Zoom in">
          +
        </button>
        <button type="button" onClick={() => zoomGroup(group, 2)} aria-label="Zoom out">
          −
        </button>
        <button type="button" onClick={() => zoomGroup(group, 0)}>
          Whole run
        </button>
      </div>
      <h3>Equity</h3>
      <TimeChart {...shared} title="Equity over time" series={charts.equity} height={230} format={money} />
      <h3>Drawdown</h3>
      <TimeChart {...shared} title="Drawdown over time" series={charts.drawdown} height={150} format={money} withZero />
      <h3>Price and fills</h3>
      <FillsChart {...shared} run={run} />
      <h3>Inventory</h3>
      <TimeChart {...shared} title="Inventory over time" series={charts.inventory} height={170} format={money} withZero />
    </Section>
  );
}
