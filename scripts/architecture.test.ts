import { expect, test } from "vitest";
import { findViolations } from "./architecture.ts";
import { layers } from "./import-rules.ts";

const violationsOf = (files: Readonly<Record<string, string>>): string[] =>
  findViolations(Object.entries(files).map(([path, text]) => ({ path, text }))).map(
    ({ path, line, message }) => `${path}:${line}: ${message}`,
  );

test("an import that points down the layers is accepted", () => {
  expect(violationsOf({ "src/loops/reaper.ts": 'import { judge } from "../liveness/run-policy.ts";\njudge();' })).toEqual([]);
});

test("an import within a layer is accepted", () => {
  expect(violationsOf({ "src/store/jobs/jobs.ts": 'import { open } from "./store.ts";\nopen();' })).toEqual([]);
});

test("every layer is refused an import from each layer above it, with the reason", () => {
  const pathIn = (name: string): string => (name.endsWith(".ts") ? `src/${name}` : `src/${name}/planted.ts`);
  for (const [index, lower] of layers.entries()) {
    for (const upper of layers.slice(0, index)) {
      if (lower.name === "domain" && upper.name === "liveness") continue;
      const from = pathIn(lower.name);
      const found = violationsOf({
        [from]: `import { x } from "${from.split("/").length === 2 ? "." : ".."}/${pathIn(upper.name).slice(4)}";\nx();`,
      });
      expect(found, `${lower.name} -> ${upper.name}`).toContainEqual(
        `${from}:1: ${lower.name} may not import ${upper.name}: ${upper.because}`,
      );
    }
  }
});

test("types, re-exports and dynamic imports keep the direction too", () => {
  const found = violationsOf({
    "src/store/jobs/jobs.ts": [
      'import type { Loop } from "../loops/loop.ts";',
      'export { tick } from "../loops/loop.ts";',
      'export * from "../loops/loop.ts";',
      'export const load = () => import("../loops/loop.ts");',
      'export type T = import("../loops/loop.ts").Loop;',
    ].join("\n"),
  });
  expect(found.map((violation) => violation.split(":")[1])).toEqual(["1", "2", "3", "4", "5"]);
});

test("tests keep the direction, and may use the test support folder", () => {
  const found = violationsOf({
    "src/store/jobs.test.ts":
      'import { until } from "../../test/support/until.ts";\nimport { loop } from "../loops/loop.ts";\nuntil(loop);',
  });
  expect(found).toHaveLength(1);
  expect(found[0]).toContain("store may not import loops");
});

test("domain and liveness may know each other and nothing else", () => {
  expect(violationsOf({ "src/domain/a.ts": 'import type { Verdict } from "../liveness/verdict.ts";\nexport type V = Verdict;' })).toEqual(
    [],
  );
  expect(violationsOf({ "src/domain/a.ts": 'import assert from "node:assert/strict";\nassert(true);' })).toEqual([]);
  expect(violationsOf({ "src/domain/a.ts": 'import { readFileSync } from "node:fs";\nreadFileSync("x");' })[0]).toContain(
    "domain may not import node:fs",
  );
  expect(violationsOf({ "src/liveness/a.ts": 'import { z } from "zod";\nz.string();' })[0]).toContain(
    "liveness may not import the package zod",
  );
  expect(violationsOf({ "src/domain/a.test.ts": 'import { test } from "vitest";\ntest("x", () => {});' })).toEqual([]);
});

test("only the store speaks to a database package, in tests as well", () => {
  for (const name of ["kysely", "pg", "@photostructure/sqlite"]) {
    expect(violationsOf({ "src/store/db.ts": `import x from "${name}";\nx();` })).toEqual([]);
    expect(violationsOf({ "src/http/db.ts": `import x from "${name}/deep";\nx();` })[0]).toContain(`only src/store may import ${name}`);
    expect(violationsOf({ "src/worker/db.test.ts": `import x from "${name}";\nx();` })[0]).toContain(`only src/store may import ${name}`);
  }
});

test("engines and providers never know each other", () => {
  expect(violationsOf({ "src/store/sqlite/a.ts": 'import { b } from "../postgres/b.ts";\nb();' })[0]).toContain(
    "store/sqlite may not import store/postgres",
  );
  expect(violationsOf({ "src/fleet/providers/mock/a.ts": 'import { b } from "../process/b.ts";\nb();' })[0]).toContain(
    "fleet/providers/mock may not import fleet/providers/process",
  );
});

test("a loop knows the store's port and none of its engines", () => {
  expect(violationsOf({ "src/loops/a.ts": 'import { b } from "../store/sqlite/b.ts";\nb();' })[0]).toContain("knows the store's port");
  expect(violationsOf({ "src/loops/a.ts": 'import { b } from "../store/store.ts";\nb();' })).toEqual([]);
});

test("clock, entropy and environment are read in src/runtime alone", () => {
  const reads = [
    "Date.now()",
    "new Date()",
    "Date()",
    "performance.now()",
    "globalThis.performance.now()",
    "process.hrtime()",
    "process.hrtime.bigint()",
    "Math.random()",
    "crypto.randomUUID()",
    "process.env.HOME",
    'process["env"]',
  ];
  for (const read of reads) {
    expect(violationsOf({ "src/loops/a.ts": `export const x = ${read};` }), read).toHaveLength(1);
    expect(violationsOf({ "src/runtime/a.ts": `export const x = ${read};` }), read).toEqual([]);
    expect(violationsOf({ "src/loops/a.test.ts": `export const x = ${read};` }), read).toEqual([]);
  }
});

test("a read is found under an import's name as well", () => {
  expect(violationsOf({ "src/loops/a.ts": 'import { randomUUID as id } from "node:crypto";\nid();' })[0]).toContain(
    "crypto.randomUUID belongs to src/runtime",
  );
  expect(violationsOf({ "src/loops/a.ts": 'import { performance as p } from "node:perf_hooks";\np.now();' })).toEqual([]);
  expect(violationsOf({ "src/loops/a.ts": 'import os from "node:os";\nos.uptime();' })[0]).toContain("os.uptime");
  expect(violationsOf({ "src/loops/a.ts": 'import { env } from "node:process";\nenv.HOME;' })[0]).toContain("process.env");
});

test("turning an instant into a date reads no clock", () => {
  expect(violationsOf({ "src/cli/a.ts": "export const text = (at: number) => new Date(at).toISOString();" })).toEqual([]);
});

test("the process is ended by the command line and the executables alone", () => {
  expect(violationsOf({ "src/cli/a.ts": "process.exit(1);", "src/bin/a.ts": "process.exit(1);" })).toEqual([]);
  expect(violationsOf({ "src/main.ts": "process.exit(1);" })[0]).toContain("process.exit belongs to src/cli and src/bin");
});

test("a folder without a place in the layers is refused", () => {
  expect(violationsOf({ "src/misc/a.ts": "export {};" })[0]).toContain("src/misc has no place");
});

test("shipped code imports nothing outside src", () => {
  expect(violationsOf({ "src/cli/a.ts": 'import { x } from "../../test/support/until.ts";\nx();' })[0]).toContain(
    "imports test/support/until.ts",
  );
});

test("the library's door drags in no driver, however long the way; a dynamic import or a type is free", () => {
  const door = { "src/index.ts": 'export { connect } from "./worker/direct.ts";' };
  const found = violationsOf({
    ...door,
    "src/worker/direct.ts": 'export * from "../store/open.ts";',
    "src/store/open.ts": 'import pg from "pg";\npg();',
  });
  expect(found).toHaveLength(1);
  expect(found[0]).toContain("src/index.ts -> src/worker/direct.ts -> src/store/open.ts -> pg");
  expect(
    violationsOf({
      ...door,
      "src/worker/direct.ts": 'export const open = () => import("../store/open.ts");',
      "src/store/open.ts": 'import "pg";',
    }),
  ).toEqual([]);
  expect(
    violationsOf({ ...door, "src/worker/direct.ts": 'export type * from "../store/open.ts";', "src/store/open.ts": 'import "pg";' }),
  ).toEqual([]);
});

test("files that import each other are refused, also where one import is of a type or comes later", () => {
  const because = "files that need each other can only be read, loaded and tested as one; move what both need to a third";
  expect(
    violationsOf({
      "src/cli/a.ts": 'import { b } from "./b.ts";\nb();',
      "src/cli/b.ts": '\nexport const load = () => import("./c.ts");',
      "src/cli/c.ts": 'import type { A } from "./a.ts";\nexport type C = A;',
    }),
  ).toEqual([`src/cli/c.ts:1: imports in a circle: src/cli/a.ts -> src/cli/b.ts -> src/cli/c.ts -> src/cli/a.ts: ${because}`]);
  expect(violationsOf({ "src/cli/a.ts": 'export * from "./a.ts";' })[0]).toContain("src/cli/a.ts -> src/cli/a.ts");
});

test("two ways to the same file are no circle", () => {
  const both = 'import { d } from "./d.ts";\nd();';
  expect(
    violationsOf({
      "src/cli/a.ts": 'import "./b.ts";\nimport "./c.ts";',
      "src/cli/b.ts": both,
      "src/cli/c.ts": both,
      "src/cli/d.ts": "export const d = 1;",
    }),
  ).toEqual([]);
});
