/** Small parts that all pages are made of. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { told } from "../live/api";
import { Value, useValue } from "../live/value";

interface PanelProps {
  title: string;
  /** Stands at the right of the title. */
  tools?: ComponentChildren;
  note?: ComponentChildren;
  class?: string;
  children: ComponentChildren;
  /** Whether what is shown is older than it should be. */
  isStale?: boolean;
}

export function Panel({ title, tools, note, class: name = "", children, isStale }: PanelProps) {
  const id = `panel-${title.toLowerCase().replace(/\W+/g, "-")}`;
  return (
    <section class={`panel ${name} ${isStale ? "stale" : ""}`} aria-labelledby={id}>
      <header class="panel-head">
        <h2 id={id}>{title}</h2>
        {tools && <div class="panel-tools">{tools}</div>}
      </header>
      {note && <p class="note panel-note">{note}</p>}
      {children}
    </section>
  );
}

/** What a page says when there is nothing yet: what it would show, and what to do. */
export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children}
    </div>
  );
}

export function Fault({ text, retry }: { text: string | null; retry?: () => void }) {
  if (!text) return null;
  return (
    <p class="fault" role="alert">
      {text}
      {retry && (
        <button type="button" class="quiet" onClick={retry}>
          Try again
        </button>
      )}
    </p>
  );
}

export type Tone = "pass" | "warn" | "fail" | "info" | "idle";

/** A word on its colour; the shape tells the tone too. */
export function Badge({ tone, children, title }: { tone: Tone; children: ComponentChildren; title?: string }) {
  return (
    <span class={`badge ${tone}`} {...(title ? { title } : {})}>
      <svg viewBox="0 0 10 10" width="10" height="10" aria-hidden="true">
        <path d={SHAPES[tone]} />
      </svg>
      {children}
    </span>
  );
}

const SHAPES: Record<Tone, string> = {
  pass: "M1.5 5.5 4 8l4.5-6",
  warn: "M5 1.2 9 8.6H1z",
  fail: "M2 2l6 6M8 2 2 8",
  info: "M5 1a4 4 0 1 0 0 8 4 4 0 0 0 0-8z",
  idle: "M1.5 5h7",
};

export function toneOf(status: string): Tone {
  if (["COMPLETED", "RUNNING", "OK", "PASS", "ok", "ACTIVE", "NEW", "FILLED", "GREEN", "CLEARED"].includes(status)) return "pass";
  if (["WARN", "WARNING", "PARTIALLY_FILLED", "PAUSED", "degraded", "REDUCING", "YELLOW"].includes(status)) return "warn";
  if (["FAILED", "BREACHED", "FAIL", "REJECTED", "CRITICAL", "down", "HALTED", "RED"].includes(status)) return "fail";
  return ["PENDING", "PENDING_NEW", "PUBLISHING", "SCHEDULED"].includes(status) ? "info" : "idle";
}

export function Status({ value }: { value: string }) {
  return <Badge tone={toneOf(value)}>{value.replaceAll("_", " ").toLowerCase()}</Badge>;
}

interface FieldProps {
  label: string;
  hint?: ComponentChildren;
  unit?: string;
  children: (id: string) => ComponentChildren;
}
let fields = 0;

export function Field({ label, hint, unit, children }: FieldProps) {
  const [id] = useState(() => `field-${++fields}`);
  return (
    <div class="field">
      <label for={id}>
        {label}
        {unit && <span class="unit"> {unit}</span>}
      </label>
      {children(id)}
      {hint && <p class="hint">{hint}</p>}
    </div>
  );
}

interface InputProps {
  label: string;
  value: string;
  onValue: (value: string) => void;
  unit?: string;
  hint?: ComponentChildren;
  type?: "text" | "password" | "date";
  inputMode?: "decimal" | "numeric" | "text";
  autocomplete?: string;
  min?: string;
  max?: string;
  disabled?: boolean;
  isFirst?: boolean;
}

export function Input({ label, value, onValue, unit, hint, type = "text", inputMode = "text", autocomplete = "off", min, max, disabled, isFirst }: InputProps) {
  const holder = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (isFirst) holder.current?.focus();
  }, []);
  return (
    <Field label={label} {...(unit ? { unit } : {})} {...(hint ? { hint } : {})}>
      {(id) => (
        <input
          ref={holder}
          id={id}
          type={type as "text"}
          inputMode={inputMode}
          autocomplete={autocomplete}
          spellcheck={false}
          value={value}
          min={min}
          max={max}
          disabled={disabled}
          onInput={(event) => onValue(event.currentTarget.value)}
        />
      )}
    </Field>
  );
}

export function Select({
  label,
  value,
  options,
  onValue,
  hint,
}: {
  label: string;
  value: string;
  options: readonly (readonly [string, string])[];
  onValue: (value: string) => void;
  hint?: ComponentChildren;
}) {
  return (
    <Field label={label} {...(hint ? { hint } : {})}>
      {(id) => (
        <select id={id} value={value} onChange={(event) => onValue(event.currentTarget.value)}>
          {options.map(([key, text]) => (
            <option key={key} value={key} selected={key === value}>
              {text}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

export function Segments<T extends string>({
  label,
  value,
  options,
  onValue,
  class: name = "",
}: {
  label: string;
  value: T;
  options: readonly (readonly [T, string])[];
  onValue: (value: T) => void;
  class?: string;
}) {
  return (
    <div class={`segments ${name}`} role="group" aria-label={label}>
      {options.map(([key, text]) => (
        <button type="button" key={key} aria-pressed={key === value} onClick={() => onValue(key)} data-value={key}>
          {text}
        </button>
      ))}
    </div>
  );
}

export interface Column<Row> {
  name: string;
  /** Text stands left, figures right. */
  isText?: boolean;
  cell: (row: Row) => ComponentChildren;
  /** Left out on a narrow screen. */
  isExtra?: boolean;
}

export function Table<Row>({
  caption,
  columns,
  rows,
  keyOf,
  empty,
  rowClass,
}: {
  caption: string;
  columns: Column<Row>[];
  rows: readonly Row[];
  keyOf: (row: Row) => string;
  empty?: ComponentChildren;
  rowClass?: (row: Row) => string;
}) {
  if (rows.length === 0 && empty !== undefined) return <>{empty}</>;
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label={caption}>
      <table class="data">
        <caption class="hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <th scope="col" key={column.name} class={`${column.isText ? "text" : ""} ${column.isExtra ? "extra" : ""}`}>
                {column.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)} class={rowClass?.(row) ?? ""}>
              {columns.map((column) => (
                <td key={column.name} class={`${column.isText ? "text" : ""} ${column.isExtra ? "extra" : ""}`}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function Fact({ name, children, class: tone = "", title }: { name: string; children: ComponentChildren; class?: string; title?: string }) {
  return (
    <div class="fact" {...(title ? { title } : {})}>
      <dt>{name}</dt>
      <dd class={tone}>{children}</dd>
    </div>
  );
}

export function Progress({ percent, label }: { percent: number; label: string }) {
  return (
    <div class="progress" role="progressbar" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(percent)}>
      <i style={{ width: `${Math.min(100, Math.max(0, percent))}%` }} />
    </div>
  );
}

// ---------------------------------------------------------------- notices

export interface Notice {
  id: number;
  tone: Tone;
  text: string;
  action?: { name: string; run: () => void };
}
export const notices = new Value<Notice[]>([]);
let counted = 0;

export function notify(tone: Tone, text: string, action?: Notice["action"]): void {
  const id = ++counted;
  notices.set([...notices.get().slice(-3), { id, tone, text, ...(action ? { action } : {}) }]);
  setTimeout(() => dismiss(id), tone === "fail" ? 12_000 : 5_000);
}

export function dismiss(id: number): void {
  notices.set(notices.get().filter((notice) => notice.id !== id));
}

/** Do something of the service; what went wrong is told, and the answer is null then. */
export async function attempt<T>(doing: Promise<T>, done?: (found: T) => string): Promise<T | null> {
  try {
    const found = await doing;
    if (done) notify("pass", done(found));
    return found;
  } catch (error) {
    notify("fail", told(error));
    return null;
  }
}

export function Notices() {
  const shown = useValue(notices);
  return (
    <div class="notices" role="status" aria-live="polite">
      {shown.map((notice) => (
        <div key={notice.id} class={`notice ${notice.tone}`}>
          <span>{notice.text}</span>
          {notice.action && (
            <button
              type="button"
              onClick={() => {
                notice.action!.run();
                dismiss(notice.id);
              }}
            >
              {notice.action.name}
            </button>
          )}
          <button type="button" class="close" aria-label="Dismiss" onClick={() => dismiss(notice.id)}>
            ×
          </button>
        </div>
      ))}
    </div>
  );
}

/** A dialog of the browser's own: it keeps the focus, and Escape closes it. */
export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
  const holder = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = holder.current!;
    dialog.showModal();
    return () => dialog.close();
  }, []);
  return (
    <dialog
      ref={holder}
      aria-label={title}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => event.target === holder.current && onClose()}
    >
      <div class="dialog">
        <h2>{title}</h2>
        {children}
      </div>
    </dialog>
  );
}
