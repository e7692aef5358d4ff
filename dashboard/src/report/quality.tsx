/** The six judgements A to F, each with its status as a word and a shape, and the reasons for it. */

import type { Judgement, Status } from "./data";
import { decimal, figure, words } from "./format";

const QUESTIONS: Record<string, string> = {
  edge: "Is the edge real, or luck?",
  data: "Is the recorded market whole?",
  fills: "Were these fills to be had?",
  fragility: "Does it survive stricter assumptions?",
  parity: "Do simulation and live venue agree?",
  reproducibility: "Can it be repeated bit by bit?",
};

const SHAPES: Record<Status, string> = {
  PASS: "M3 8.5l3.2 3.2L13 5",
  WARN: "M8 3v6.5M8 12.2v.6",
  FAIL: "M4 4l8 8M12 4l-8 8",
  UNKNOWN: "M5.4 5.6a2.6 2.6 0 1 1 3.6 2.6c-.7.3-1 .7-1 1.6M8 12.2v.6",
};

export function Badge({ status }: { status: Status }) {
  return (
    <span class={`badge ${status.toLowerCase()}`}>
      <svg width="14" height="14" viewBox="0 0 16 16" aria-hidden="true">
        <path d={SHAPES[status]} />
      </svg>
      {status}
    </span>
  );
}

export function QualityCards({ quality }: { quality: Record<string, Judgement> }) {
  return (
    <div class="cards three">
      {Object.entries(quality).map(([name, judgement], k) => (
        <article key={name} class={`card quality ${judgement.status.toLowerCase()}`}>
          <header>
            <h3>
              <b>{"ABCDEF"[k]}</b> {capital(words(name))}
            </h3>
            <Badge status={judgement.status} />
          </header>
          <p class="note">{QUESTIONS[name]}</p>
          {judgement.reasons.length > 0 ? (
            <ul>
              {judgement.reasons.map((reason) => (
                <li key={reason}>{readable(reason)}</li>
              ))}
            </ul>
          ) : (
            <p class="calm">Everything measured is within its bounds.</p>
          )}
          <details>
            <summary>figures</summary>
            <dl class="pairs">
              {Object.entries(judgement.figures).map(([figureName, value]) => [
                <dt key={figureName}>{words(figureName)}</dt>,
                <dd key={`${figureName} value`}>{shown(value)}</dd>,
              ])}
            </dl>
          </details>
        </article>
      ))}
    </div>
  );
}

/** Return a sentence of the service with a capital at its begin and a stop at its end. */
export function readable(reason: string): string {
  return `${capital(reason)}.`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function shown(value: number | string | boolean | null): string {
  if (value === null) return "not measured";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return figure(value);
  return /^-?\d+(\.\d+)?$/.test(value) ? decimal(value) : value.length > 24 ? `${value.slice(0, 12)}…` : value;
}
