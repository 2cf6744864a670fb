import { expect, test } from "vitest";
import { growthCells, growthTargets, isGrown } from "./growth-cells.ts";

test("every target of growth names cells that there are, and one store of each engine is filled once", () => {
  const cells = growthCells(false);
  const names = cells.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  for (const { of, over } of growthTargets) for (const name of over === undefined ? [of] : [of, over]) expect(names).toContain(name);
  expect(cells.filter(isGrown).map(({ subject }) => subject)).toEqual(["wakeful-sqlite", "wakeful-postgres"]);
});
