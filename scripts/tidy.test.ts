import { expect, test } from "vitest";
import { findUntidiness } from "./tidy.ts";

const messagesFor = (path: string, text: string): string[] =>
  findUntidiness([{ path, text }], { machinePaths: ["/build/agent-7"] }).map(({ line, message }) => `${line}: ${message}`);

test("unfinished marks are found in code and prose, and not inside longer words", () => {
  const mark = ["TO", "DO"].join("");
  expect(messagesFor("src/a.ts", `const a = 1; // ${mark}: later\n`)[0]).toMatch(/^1: /);
  expect(messagesFor("docs/a.md", `fine\n${mark.slice(0, 0)}${["FIX", "ME"].join("")} soon\n`)[0]).toMatch(/^2: /);
  expect(messagesFor("docs/a.md", `${mark}S and methodology\n`)).toEqual([]);
});

test("a skipped test fails unless a comment says why", () => {
  expect(messagesFor("test/a.test.ts", 'describe.skip("x", () => {});')[0]).toContain(".skip needs a comment");
  expect(messagesFor("test/a.test.ts", 'test.skipIf(old)("x", () => {});')[0]).toContain(".skipIf needs a comment");
  expect(messagesFor("test/a.test.ts", '// The platform has no such call.\ntest.skipIf(old)("x", () => {});')).toEqual([]);
});

test("a test may not sleep in any of the usual spellings", () => {
  const sleeping = [
    "await new Promise((done) => setTimeout(done, 50));",
    "await new Promise<void>((done) => { setTimeout(() => done(), 50); });",
    "await new Promise((done) => globalThis.setTimeout(done, 50));",
    'import { setTimeout as wait } from "node:timers/promises";\nawait wait(50);',
    "Atomics.wait(cells, 0, 0, 50);",
  ];
  for (const source of sleeping) expect(messagesFor("src/a.test.ts", source)[0], source).toContain("sleeps");
  expect(messagesFor("test/support/until.ts", sleeping[0] ?? "")).toEqual([]);
});

test("a deadline is no sleep", () => {
  expect(messagesFor("src/a.test.ts", 'await new Promise((_, fail) => setTimeout(() => fail(new Error("late")), 50));')).toEqual([]);
});

test("paths of one machine are found, paths of any machine are not", () => {
  const home = ["", "home", "me", "src"].join("/");
  expect(messagesFor("src/a.ts", `const a = "${home}";`)[0]).toContain("a path of one machine");
  expect(messagesFor("docs/a.md", "see /build/agent-7/log")[0]).toContain("a path of one machine");
  expect(messagesFor("src/a.ts", 'const a = ["/var/lib/wakeful", "/proc/1/stat", "https://example.org/home/x/"];')).toEqual([]);
});

test("names that say nothing are refused", () => {
  expect(messagesFor("src/store/utils.ts", "export {};")[0]).toContain('"utils" says nothing');
});
