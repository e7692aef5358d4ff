import { expect, test } from "vitest";

import { bucketsOf, quantile, samplesOf, since, total } from "./metrics";

const TEXT = `# HELP x_seconds Time.
# TYPE x_seconds histogram
x_seconds_bucket{le="0.1",route="/a"} 5
x_seconds_bucket{le="1.0",route="/a"} 9
x_seconds_bucket{le="+Inf",route="/a"} 10
x_seconds_bucket{le="0.1",route="/b"} 5
x_seconds_bucket{le="1.0",route="/b"} 5
x_seconds_bucket{le="+Inf",route="/b"} 5
depth 3.0
odd{text="a\\"b,c=\\"d"} 1e+03
`;

test("samples keep their labels, whatever stands in them", () => {
  const found = samplesOf(TEXT);
  expect(found).toHaveLength(8);
  expect(found[7]).toEqual({ name: "odd", labels: { text: 'a"b,c="d' }, value: 1000 });
  expect(total(found, "depth")).toBe(3);
  expect(total(found, "missing")).toBeNull();
});

test("buckets are summed over labels, and quantiles lie within them", () => {
  const all = bucketsOf(samplesOf(TEXT), "x_seconds");
  expect(all).toEqual([{ le: 0.1, count: 10 }, { le: 1, count: 14 }, { le: Infinity, count: 15 }]);
  // half of 15 is 7.5 of the 10 in [0, 0.1]
  expect(quantile(all, 0.5)).toBeCloseTo(0.075);
  // 0.9 x 15 = 13.5: 3.5 of the 4 in [0.1, 1]
  expect(quantile(all, 0.9)).toBeCloseTo(0.1 + 0.9 * (3.5 / 4));
  expect(quantile(all, 1)).toBe(1);
  expect(quantile([], 0.5)).toBeNull();
});

test("between two readings only what is new counts; a restart begins anew", () => {
  const before = [{ le: 1, count: 4 }, { le: Infinity, count: 4 }];
  const after = [{ le: 1, count: 5 }, { le: Infinity, count: 7 }];
  expect(since(after, before)).toEqual([{ le: 1, count: 1 }, { le: Infinity, count: 3 }]);
  expect(since(before, after)).toEqual(before);
});
