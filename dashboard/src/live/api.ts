/** The service's REST interface: one function for every call; its errors say what the service said. */

import { Value } from "./value";

const KEY = "market-maker-key";

export interface FieldProblem {
  field: string;
  value: string;
  allowed: string;
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly fields: FieldProblem[] = [],
  ) {
    super(detail || title);
  }
}

/** Whether the service wants a key that this session does not have. */
export const keyWanted = new Value<"no" | "yes" | "wrong">("no");
/** Whether the last call reached the service. */
export const reached = new Value(true);

/** The key is kept for this tab alone, and travels in headers only. */
export function apiKey(): string | null {
  return sessionStorage.getItem(KEY);
}

export function keepKey(key: string | null): void {
  if (key === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, key);
  keyWanted.set("no");
}

/** Return the address of a path of the service, wherever it is mounted. */
export function address(path: string): string {
  return new URL(path.replace(/^\//, ""), document.baseURI).href;
}

async function send(method: string, path: string, body?: unknown): Promise<Response> {
  const headers: Record<string, string> = {};
  const key = apiKey();
  if (key !== null) headers["X-API-Key"] = key;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer: Response;
  try {
    answer = await fetch(address(path), {
      method,
      headers,
      credentials: "omit",
      signal: AbortSignal.timeout(20_000),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch {
    reached.set(false);
    throw new ApiError(0, "Not reached", "The service cannot be reached. Is it running?");
  }
  reached.set(true);
  if (answer.ok) return answer;
  if (answer.status === 401) keyWanted.set(key === null ? "yes" : "wrong");
  throw await problemOf(answer);
}

async function problemOf(answer: Response): Promise<ApiError> {
  try {
    const said = (await answer.json()) as { title?: string; detail?: string; errors?: FieldProblem[] };
    return new ApiError(answer.status, said.title ?? "", said.detail ?? answer.statusText, said.errors ?? []);
  } catch {
    return new ApiError(answer.status, answer.statusText, `The service answered ${answer.status}.`);
  }
}

export async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const answer = await send(method, path, body);
  return (answer.status === 204 ? null : await answer.json()) as T;
}

export const get = <T>(path: string): Promise<T> => call<T>("GET", path);
export const textOf = async (path: string): Promise<string> => (await send("GET", path)).text();

/** Save an answer as a file; for what a link could not fetch, since a link carries no key. */
export async function download(path: string, name: string): Promise<void> {
  const content = await (await send("GET", path)).blob();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Return what to tell of an error: the service's words, and each field that was wrong. */
export function told(error: unknown): string {
  if (!(error instanceof ApiError)) return error instanceof Error ? error.message : String(error);
  const fields = error.fields.map(({ field, value, allowed }) => `${field}${value ? ` ${value}` : ""}: ${allowed}`);
  const extra = fields.filter((text) => !error.message.includes(text));
  return [error.message, ...extra].join(" · ");
}
