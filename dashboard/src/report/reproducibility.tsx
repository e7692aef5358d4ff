/** What makes a run repeatable: seed, versions, hashes, and how it was configured. */

import { seconds, type Run } from "./data";
import { decimal, duration, instant, percent, words } from "./format";

export function Reproducibility({ run }: { run: Run }) {
  const known = run.reproducibility;
  const { parameters, execution, pair: _pair, ...rest } = known.configuration;
  const gaps = known.missing.map(([begin, end]) => Number(BigInt(end) - BigInt(begin)));
  const facts: [string, string, boolean?][] = [
    ["digest of the result", run.digest, true],
    ["hash of the data", known.data_hash, true],
    ["seed", String(known.seed)],
    ["code version", known.code_version],
    ["kernel", known.kernel_key, true],
    ["market events replayed", decimal(String(known.events))],
    ["recorded share of the sessions", percent(known.coverage, 2)],
    ["gaps", gaps.length === 0 ? "none" : `${gaps.length}, the longest ${duration(Math.max(...gaps))}`],
    ...Object.entries(known.libraries).map(([name, version]): [string, string] => [name, version]),
  ];
  return (
    <div class="cards two">
      <Facts title="Facts" facts={facts} />
      <Facts title="Parameters of the strategy" facts={entries(parameters)} />
      <Facts title="Configuration" facts={entries(rest)} />
      <Facts title="Execution" facts={entries(execution)} />
    </div>
  );
}

function Facts({ title, facts }: { title: string; facts: [string, string, boolean?][] }) {
  return (
    <article class="card">
      <h3>{title}</h3>
      <dl class="pairs">
        {facts.map(([name, value, isCode]) => [
          <dt key={name}>{words(name)}</dt>,
          <dd key={`${name} value`}>{isCode ? <code title={value}>{value}</code> : value}</dd>,
        ])}
      </dl>
    </article>
  );
}

function entries(values: unknown): [string, string][] {
  return Object.entries((values ?? {}) as Record<string, unknown>).map(([name, value]) => [name, shown(name, value)]);
}

function shown(name: string, value: unknown): string {
  if (value === null || value === undefined) return "–";
  if (name.endsWith("_ts")) return `${instant(seconds(String(value)))} UTC`;
  if (name.endsWith("_ns") && typeof value === "number") return duration(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
