/** Numbers, instants and durations as text. */

const MINUS = "\u2212";
const THIN = "\u202f";

/** Return decimal text grouped by thousands: `-11202.500` is `−11 202.5` with a thin space, or with just so many decimals. */
export function decimal(text: string, decimals?: number): string {
  const exact = decimals === undefined ? text : rounded(text, decimals);
  const match = /^(-?)(\d+)(?:\.(\d+))?$/.exec(exact);
  if (!match) return text;
  const [, sign, whole = "", fraction = ""] = match;
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, THIN);
  const kept = decimals === undefined ? fraction.replace(/0+$/, "") : fraction;
  const isZero = /^0*$/.test(whole + kept);
  return (sign && !isZero ? MINUS : "") + grouped + (kept ? `.${kept}` : "");
}

/** As `decimal`, with a plus sign where it is positive. */
export function signed(text: string, decimals?: number): string {
  const shown = decimal(text, decimals);
  return shown.startsWith(MINUS) || /^[0.\u202f]*$/.test(shown) ? shown : `+${shown}`;
}

/** Return how many decimals show an amount: `usual` ones, or three digits of one below 0.1, such as of coins. */
export function places(amount: string | number, usual = 2): number {
  const size = Math.abs(Number(amount));
  return size > 0 && size < 0.1 ? Math.max(usual, Math.min(12, 2 - Math.floor(Math.log10(size)))) : usual;
}

function rounded(text: string, decimals: number): string {
  const value = Number(text);
  return Number.isFinite(value) && Math.abs(value) < 1e15 ? value.toFixed(decimals) : text;
}

/** Return a statistic with about `digits` significant digits, `–` for none. */
export function figure(value: number | null | undefined, digits = 4): string {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e7 || size < 1e-4) return value.toExponential(digits - 2).replace("-", MINUS).replace("e+", "e");
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return decimal(value.toFixed(decimals));
}

export function percent(value: number | null | undefined, decimals = 1): string {
  return value === null || value === undefined ? "–" : `${(100 * value).toFixed(decimals).replace("-", MINUS)} %`;
}

const UNITS: readonly [number, string][] = [
  [86_400e9, "d"], [3_600e9, "h"], [60e9, "min"], [1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"],
];

/** Return a duration in its largest one or two units: `1 h 30 min`, `250 ms`. */
export function duration(ns: number): string {
  if (ns === 0) return "0 s";
  const k = UNITS.findIndex(([size]) => Math.abs(ns) >= size);
  const [size, name] = UNITS[k < 0 ? UNITS.length - 1 : k]!;
  if (size <= 1e9) return `${decimal(String(Number((ns / size).toPrecision(4))))} ${name}`;
  const [less, lessName] = UNITS[k + 1]!;
  let whole = Math.trunc(ns / size);
  let rest = Math.round((ns - whole * size) / less);
  if (rest * less === size) [whole, rest] = [whole + 1, 0];
  return rest ? `${whole} ${name} ${rest} ${lessName}` : `${whole} ${name}`;
}

/** Return an instant as UTC, to the second or as exactly as `digits` of it say. */
export function instant(secondsSince1970: number, digits = 0): string {
  const iso = new Date(Math.floor(secondsSince1970) * 1000).toISOString();
  const fraction = digits ? (secondsSince1970 - Math.floor(secondsSince1970)).toFixed(digits).slice(1) : "";
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)}${fraction}`;
}

/** Return the labels of instants on an axis whose ticks lie `step` seconds apart; the date stands under the first of a day. */
export function instants(values: readonly number[], step: number): string[] {
  let day = "";
  return values.map((value) => {
    const text = instant(value + 5e-5, step < 1 ? (step < 0.01 ? 4 : 2) : 0);
    const [date = "", time = ""] = text.split(" ");
    if (step >= 86_400) return date;
    const shown = step >= 60 ? time.slice(0, 5) : time;
    if (date === day) return shown;
    day = date;
    return `${shown}\n${date}`;
  });
}

/** Return the labels of runs in one report: A, B, ... */
export function letter(k: number): string {
  return String.fromCharCode(65 + k);
}

/** Return a name in words: `spread_capture` is `spread capture`. */
export function words(name: string): string {
  return name.replaceAll("_", " ").toLowerCase();
}
