import { expect, test } from "vitest";
import { readSources } from "./source-tree.ts";
import { findWaitingTests } from "./waiting-tests.ts";

const pathsOf = (files: Readonly<Record<string, string>>): readonly string[] =>
  findWaitingTests(Object.entries(files).map(([path, text]) => ({ path, text }))).map(({ path }) => path);

test("a test that starts processes, opens sockets or waits is found, also when only what it imports does", () => {
  const files = {
    "src/a.test.ts": 'import { spawn } from "node:child_process";',
    "src/b.test.ts": 'import { until } from "../test/support/until.ts";',
    "src/c.test.ts": 'import { server } from "./c.ts";',
    "src/c.ts": 'export { connect } from "./d.ts";',
    "src/d.ts": 'import { connect } from "node:net";',
    "src/e.test.ts": "const timer = setTimeout(fail, 50);",
    "src/f.test.ts": 'const { Client } = await import("pg");',
    "test/support/until.ts": 'import { setTimeout as pause } from "node:timers/promises";',
  };
  expect(pathsOf(files)).toEqual(["src/a.test.ts", "src/b.test.ts", "src/c.test.ts", "src/e.test.ts", "src/f.test.ts"]);
});

test("a test of pure code is not, whatever types it names and whatever timers the code beside it sets", () => {
  const files = {
    "src/a.test.ts": 'import type { Server } from "node:net"; import { b } from "./b.ts";',
    "src/b.ts": 'import type { C } from "./c.ts"; export const b = () => setTimeout(again, 5); clock.setTimeout(5);',
    "src/c.ts": 'import { createServer } from "node:net";',
    "src/c.server.ts": 'import { createServer } from "node:net";',
  };
  expect(pathsOf(files)).toEqual([]);
});

test("of the repository's own tests, those of real processes are among them and those of pure rules are not", () => {
  const found = findWaitingTests(readSources({ folders: ["src", "test", "scripts", "bench", "examples"], endings: [".ts"] }));
  const paths = found.map(({ path }) => path);
  expect(paths).toContain("test/integration/commands.test.ts");
  expect(paths).toContain("test/conformance/claim.test.ts");
  expect(paths.filter((path) => path.startsWith("src/domain/"))).toEqual([]);
});
