import { expect, test } from "vitest";
import { parseModule } from "./parsed-module.ts";
import { coverageOf, idsIn, isRunningTest } from "./requirement-coverage.ts";

const list = { known: { "A-": 27, "A-G": 5, "B-": 77 }, claimed: ["A-4", "A-14", "A-15", "A-G1"] };
const at = (title: string) => ({ path: "test/a.test.ts", line: 3, title });

test("a title names one id or several in one pair of brackets, or in several pairs", () => {
  expect(idsIn("exactly at the timeout is not stale [A-4]")).toEqual(["A-4"]);
  expect(idsIn("both fields are written [A-14, A-15] [A-G1]")).toEqual(["A-14", "A-15", "A-G1"]);
  expect(idsIn("an array [0] or a note [see A-4] names nothing")).toEqual([]);
});

test("a claimed id that no title names is missing", () => {
  expect(coverageOf(list, [at("x [A-4]"), at("y [A-14, A-15]")]).missing).toEqual(["A-G1"]);
});

test("an id that does not exist is reported with its place, also when only its number is too high", () => {
  expect(coverageOf(list, [at("x [A-28]"), at("y [D-1]"), at("z [A-0]")]).unknown).toEqual([
    { id: "A-28", at: "test/a.test.ts:3" },
    { id: "D-1", at: "test/a.test.ts:3" },
    { id: "A-0", at: "test/a.test.ts:3" },
  ]);
});

test("an id may belong to a section, whose last number is its own", () => {
  const sections = { known: { "F-8.": 15, "F-9.": 2 }, claimed: ["F-8.1", "F-8.2", "F-9.2"] };
  expect(idsIn("cleaned [F-8.1, F-8.13]")).toEqual(["F-8.1", "F-8.13"]);
  const coverage = coverageOf(sections, [at("x [F-8.1]"), at("y [F-9.2, F-9.3]"), at("z [F-8]")]);
  expect(coverage.missing).toEqual(["F-8.2"]);
  expect(coverage.unknown.map(({ id }) => id)).toEqual(["F-9.3", "F-8"]);
});

test("an id that exists and is not claimed is told apart", () => {
  expect(coverageOf(list, [at("x [B-39]")])).toMatchObject({ unknown: [], unclaimed: ["B-39"] });
});

test("titles are read from strings and templates; a skipped test proves nothing", () => {
  const source = [
    'test("one [A-4]", () => {});',
    "it.each(stages)(`${stage} two [A-14]`, () => {});",
    'test.skip("three [A-15]", () => {});',
    'describe("four [A-G1]", () => {});',
    'other("five [A-4]");',
  ].join("\n");
  const titles = parseModule("a.test.ts", source).testCalls.filter(isRunningTest);
  expect(titles.flatMap(({ title }) => idsIn(title))).toEqual(["A-4", "A-14", "A-G1"]);
});
