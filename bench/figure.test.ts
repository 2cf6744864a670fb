import { expect, test } from "vitest";
import { figure, median, percentile, unmeasured } from "./figure.ts";

test("a figure is the median of its samples, and holds when that is within its bound", () => {
  expect(figure("a", "x", { atLeast: 4.5 }, [4, 5, 6])).toMatchObject({ value: 5, target: ">= 4.5", holds: true, samples: [4, 5, 6] });
  expect(figure("a", "ms", { atMost: 2 }, [3, 1, 2.5])).toMatchObject({ value: 2.5, target: "<= 2", holds: false });
  expect(unmeasured("a", "x", ">= 1", "no compiler")).toMatchObject({ value: null, holds: null, note: "no compiler" });
});

test("percentiles are values that were measured", () => {
  const values = Array.from({ length: 100 }, (_, at) => at + 1);
  expect([median(values), percentile(values, 0.99), percentile(values, 1), percentile([7], 0.01)]).toEqual([50, 99, 100, 7]);
});
