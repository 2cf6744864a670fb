import { expect, test } from "vitest";
import { isNestedTooDeep, jsonNestingMax } from "./json-nesting.ts";

const lists = (depth: number): string => "[".repeat(depth) + "]".repeat(depth);
const maps = (depth: number): string => `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`;

test("exactly the limit is taken, one more is not, in lists and in maps", () => {
  for (const nested of [lists, maps]) {
    expect(isNestedTooDeep(nested(jsonNestingMax))).toBe(false);
    expect(isNestedTooDeep(nested(jsonNestingMax + 1))).toBe(true);
  }
});

test("what stands side by side, or in texts, is not nested", () => {
  expect(isNestedTooDeep(`[${"[],{},".repeat(2000)}1]`)).toBe(false);
  expect(isNestedTooDeep(JSON.stringify({ text: `"\\${"[{".repeat(2000)}` }))).toBe(false);
  expect(isNestedTooDeep(`["\\\\",${lists(jsonNestingMax)}]`)).toBe(true);
});

test("a depth at which parsers fail costs no stack", () => {
  expect(isNestedTooDeep(lists(500_000))).toBe(true);
});
