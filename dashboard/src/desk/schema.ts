/** Values of a JSON schema's form: what is written, what of it is wrong, what is sent. Pure. */

import type { Schema } from "../live/types";

export type Written = Record<string, string>;

/** Return the schema behind a reference or a choice with null. */
export function resolved(schema: Schema, root: Schema): Schema {
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop() ?? "";
    return resolved({ ...root.$defs?.[name], ...(schema.description ? { description: schema.description } : {}) }, root);
  }
  const some = schema.anyOf?.find((each) => each.type !== "null");
  return some ? { ...resolved(some, root), ...(schema.description ? { description: schema.description } : {}), default: schema.default } : schema;
}

/** Return the text that stands in a field before anyone writes. */
export function firstText(schema: Schema): string {
  const value = schema.default;
  if (value === undefined || value === null) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** Return what is wrong with a text for a property, null when nothing is; an empty one means the default. */
export function faultIn(text: string, schema: Schema, isRequired: boolean): string | null {
  if (text.trim() === "") return isRequired && schema.default === undefined ? "needed" : null;
  if (schema.type !== "integer" && schema.type !== "number") return null;
  const value = Number(text);
  if (!Number.isFinite(value)) return "a number";
  if (schema.type === "integer" && !Number.isInteger(value)) return "a whole number";
  if (schema.minimum !== undefined && value < schema.minimum) return `at least ${schema.minimum}`;
  if (schema.maximum !== undefined && value > schema.maximum) return `at most ${schema.maximum}`;
  return null;
}

/** Return what to send: every property that was written and is not its default. */
export function valuesOf(written: Written, schema: Schema): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const [name, given] of Object.entries(schema.properties ?? {})) {
    const property = resolved(given, schema);
    const text = (written[name] ?? "").trim();
    if (text === "" || text === firstText(property)) continue;
    found[name] = valueOf(text, property);
  }
  return found;
}

function valueOf(text: string, schema: Schema): unknown {
  if (schema.type === "integer" || schema.type === "number") return Number(text);
  if (schema.type === "boolean") return text === "true";
  if (schema.type === "array" || schema.type === "object") {
    try {
      return JSON.parse(text) as unknown;
    } catch {
      return text;
    }
  }
  return text;
}

/** Return the names of the properties that are wrong, with why. */
export function faultsOf(written: Written, schema: Schema): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, given] of Object.entries(schema.properties ?? {})) {
    const fault = faultIn(written[name] ?? firstText(resolved(given, schema)), resolved(given, schema), schema.required?.includes(name) ?? false);
    if (fault) found[name] = fault;
  }
  return found;
}
