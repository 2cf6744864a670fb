import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { inTurns, type QueueCell, queueCells } from "./cells.ts";
import { queueTargets } from "./targets.ts";

const cells = queueCells(false);

test("every cell has a name of its own and a program", () => {
  expect(new Set(cells.map(({ name }) => name)).size).toBe(cells.length);
  for (const { file } of cells) expect(existsSync(fileURLToPath(new URL(`../${file}`, import.meta.url))), file).toBe(true);
});

test("every target names cells that there are", () => {
  const names = cells.map(({ name }) => name);
  for (const { of, over } of queueTargets) for (const name of over === undefined ? [of] : [of, over]) expect(names).toContain(name);
});

test("a quick run has the same cells with fewer jobs", () => {
  const quick = queueCells(true);
  const jobsOf = ({ question }: QueueCell): number => Number(question["jobs"] ?? question["batched"]);
  expect(quick.map(({ name }) => name)).toEqual(cells.map(({ name }) => name));
  expect(quick.every((cell, at) => jobsOf(cell) <= jobsOf(cells[at] as QueueCell))).toBe(true);
});

test("cells that are compared stand side by side, and every second round goes the other way", () => {
  const chosen = cells.filter(({ name }) => /^(wakeful-postgres, 500 ahead|graphile-worker best), c=/.test(name));
  const names = inTurns(chosen, 1).map(({ name }) => name);
  expect(names).toEqual([1, 10, 100].flatMap((c) => [`wakeful-postgres, 500 ahead, c=${c}`, `graphile-worker best, c=${c}`]));
  expect(inTurns(chosen, 2).map(({ name }) => name)).toEqual(names.toReversed());
});
