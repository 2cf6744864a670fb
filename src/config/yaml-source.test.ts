import { expect, test } from "vitest";
import { configFileBytesMax, readYaml } from "./yaml-source.ts";

const mistakesOf = (text: string) =>
  readYaml(text, "w.yaml").mistakes.map(({ path, line, column, rule }) => ({ path, line, column, rule }));

test("plain data is read as YAML 1.2: no, dates and times stay texts", () => {
  expect(readYaml("a: no\nb: 12:30\nc: 2026-01-01\nd: [1, true, null]\n", "w.yaml").value).toEqual({
    a: "no",
    b: "12:30",
    c: "2026-01-01",
    d: [1, true, null],
  });
});

test("an empty file is no mistake", () => {
  expect(readYaml("# nothing\n", "w.yaml")).toMatchObject({ value: null, mistakes: [] });
});

test("values and keys are located by line and column; a missing one at the key above it", () => {
  const source = readYaml("worker:\n  concurrency: four\n", "w.yaml");
  expect(source.locate({ path: ["worker", "concurrency"], value: "four", rule: "x" })).toMatchObject({
    line: 2,
    column: 16,
    value: '"four"',
  });
  expect(source.locate({ path: ["worker", "concurrency"], atKey: true, value: "four", rule: "x" })).toMatchObject({ line: 2, column: 3 });
  expect(source.locate({ path: ["worker", "absent", "deeper"], value: undefined, rule: "x" })).toMatchObject({ line: 1, column: 1 });
});

test("duplicate keys are each reported where they stand", () => {
  expect(mistakesOf("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n")).toEqual([
    { path: "b.c", line: 4, column: 3, rule: "stands twice in this map, first in line 3" },
    { path: "a", line: 5, column: 1, rule: "stands twice in this map, first in line 1" },
  ]);
});

test("keys that are no texts are refused", () => {
  expect(mistakesOf("1: a\n? [x]\n: b\n")).toEqual([
    { path: "", line: 1, column: 1, rule: "is not a text, but keys must be: put it in quotes" },
    { path: "", line: 2, column: 3, rule: "is not a text, but keys must be: put it in quotes" },
  ]);
});

test.each(["__proto__", "constructor", "prototype"])("the key %s is refused and changes no object", (key) => {
  const source = readYaml(`a:\n  ${key}: { polluted: true }\n`, "w.yaml");
  expect(source.mistakes).toMatchObject([{ path: `a.${key}`, line: 2, column: 3, rule: "may not be used as a key" }]);
  expect(source.value).toEqual({ a: {} });
  expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
});

test("aliases are followed and located where they are used", () => {
  const source = readYaml("a: &x { n: 1 }\nb: *x\n", "w.yaml");
  expect(source.value).toEqual({ a: { n: 1 }, b: { n: 1 } });
  expect(source.locate({ path: ["b"], value: 1, rule: "x" })).toMatchObject({ line: 2, column: 4 });
});

test("an alias bomb is refused before it expands", () => {
  const levels = Array.from({ length: 12 }, (_, level) => `l${level + 1}: &l${level + 1} [${Array(9).fill(`*l${level}`).join(", ")}]`);
  const mistakes = mistakesOf(`l0: &l0 [lol, lol]\n${levels.join("\n")}\n`);
  expect(mistakes).toHaveLength(1);
  expect(mistakes[0]?.rule).toBe("expands to more than 50000 values");
});

test("an alias inside its own anchor and one to nothing are refused", () => {
  expect(mistakesOf("a: &x\n  b: *x\n")).toMatchObject([{ path: "a.b", line: 2, column: 6, rule: "holds itself" }]);
  expect(mistakesOf("a: *nowhere\n")[0]).toMatchObject({ line: 1, column: 4 });
});

test("a file over 1 MiB is refused unread", () => {
  expect(mistakesOf(`a: ${"x".repeat(configFileBytesMax)}`)).toMatchObject([{ rule: expect.stringContaining("at most 1048576 are read") }]);
});

test("nesting that would exhaust the stack is a mistake, not a crash", () => {
  expect(mistakesOf("[".repeat(100_000))).not.toEqual([]);
  expect(mistakesOf(`${"[".repeat(100)}${"]".repeat(100)}`)).toMatchObject([{ rule: "is nested deeper than 64 levels" }]);
});

test("keys by the ten thousand are checked in linear time", () => {
  const text = Array.from({ length: 60_000 }, (_, index) => `k${index}: 1`).join("\n");
  expect(mistakesOf(text)).toMatchObject([{ rule: "expands to more than 50000 values" }]);
});

test("broken syntax, unknown tags and a second document are located", () => {
  expect(mistakesOf("a: [1, 2\nb: 3\n")[0]).toMatchObject({ line: 2 });
  expect(mistakesOf("a: !secret x\n")[0]).toMatchObject({ line: 1, column: 4, rule: expect.stringContaining("is not valid YAML") });
  expect(mistakesOf("a: 1\n---\nb: 2\n")[0]?.rule).toContain("is not valid YAML");
});

test("numbers that are none are refused", () => {
  expect(mistakesOf("a: .nan\nb: .inf\n")).toMatchObject([
    { path: "a", line: 1, rule: "must be a finite number" },
    { path: "b", line: 2, rule: "must be a finite number" },
  ]);
});
