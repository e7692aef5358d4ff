import { expect, test } from "vitest";

import type { Schema } from "../live/types";
import { faultsOf, firstText, resolved, valuesOf } from "./schema";

const schema: Schema = {
  type: "object",
  required: ["half_spread_ticks"],
  properties: {
    half_spread_ticks: { type: "integer", minimum: 1, maximum: 100 },
    gamma: { type: "number", default: 0.5, minimum: 0 },
    name: { type: "string", default: "x" },
    is_on: { type: "boolean", default: false },
    maybe: { anyOf: [{ type: "integer" }, { type: "null" }], default: null },
    shape: { $ref: "#/$defs/Shape" },
  },
  $defs: { Shape: { type: "string", enum: ["A", "B"], default: "A" } },
};

test("what is not written stays the service's default and is not sent", () => {
  expect(valuesOf({ gamma: "0.5", name: "x", is_on: "true", half_spread_ticks: "7" }, schema)).toEqual({ half_spread_ticks: 7, is_on: true });
  expect(valuesOf({ gamma: "1e-3", maybe: "4" }, schema)).toEqual({ gamma: 0.001, maybe: 4 });
});

test("faults are told by property", () => {
  expect(faultsOf({}, schema)).toEqual({ half_spread_ticks: "needed" });
  expect(faultsOf({ half_spread_ticks: "0", gamma: "-1" }, schema)).toEqual({ half_spread_ticks: "at least 1", gamma: "at least 0" });
  expect(faultsOf({ half_spread_ticks: "1.5", gamma: "many" }, schema)).toEqual({ half_spread_ticks: "a whole number", gamma: "a number" });
  expect(faultsOf({ half_spread_ticks: "101" }, schema)).toEqual({ half_spread_ticks: "at most 100" });
});

test("references and choices with null are looked through", () => {
  expect(resolved(schema.properties!["shape"]!, schema).enum).toEqual(["A", "B"]);
  expect(resolved(schema.properties!["maybe"]!, schema).type).toBe("integer");
  expect([firstText({ default: null }), firstText({ default: [1, 2] }), firstText({ default: 0.1 })]).toEqual(["", "[1,2]", "0.1"]);
});
