import { expect, test } from "vitest";
import { findViolations } from "./architecture.ts";
import { layerLimits, layers, narrowDoors, roomOrder, siblingParents, textRules } from "./import-rules.ts";
import { isTestFile, readSources } from "./source-tree.ts";

const violationsOf = (files: Readonly<Record<string, string>>): string[] =>
  findViolations(Object.entries(files).map(([path, text]) => ({ path, text }))).map(
    ({ path, line, message }) => `${path}:${line}: ${message}`,
  );

test("an import that points down the layers is accepted", () => {
  expect(violationsOf({ "src/notify/reaper.ts": 'import { judge } from "../liveness/run-policy.ts";\njudge();' })).toEqual([]);
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
      'import type { Loop } from "../../loops/loop.ts";',
      'export { tick } from "../../loops/loop.ts";',
      'export * from "../../loops/loop.ts";',
      'export const load = () => import("../../loops/loop.ts");',
      'export type T = import("../../loops/loop.ts").Loop;',
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

test("what delivers knows the store's port and none of its engines", () => {
  expect(violationsOf({ "src/notify/a.ts": 'import { b } from "../store/sqlite/b.ts";\nb();' })[0]).toContain("knows the store's port");
  expect(violationsOf({ "src/notify/a.ts": 'import { b } from "../store/store.ts";\nb();' })).toEqual([]);
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
    expect(violationsOf({ "src/notify/a.ts": `export const x = ${read};` }), read).toHaveLength(1);
    expect(violationsOf({ "src/runtime/a.ts": `export const x = ${read};` }), read).toEqual([]);
    expect(violationsOf({ "src/notify/a.test.ts": `export const x = ${read};` }), read).toEqual([]);
  }
});

test("a read is found under an import's name as well", () => {
  expect(violationsOf({ "src/notify/a.ts": 'import { randomUUID as id } from "node:crypto";\nid();' })[0]).toContain(
    "crypto.randomUUID belongs to src/runtime",
  );
  expect(violationsOf({ "src/notify/a.ts": 'import { performance as p } from "node:perf_hooks";\np.now();' })).toEqual([]);
  expect(violationsOf({ "src/notify/a.ts": 'import os from "node:os";\nos.uptime();' })[0]).toContain("os.uptime");
  expect(violationsOf({ "src/notify/a.ts": 'import { env } from "node:process";\nenv.HOME;' })[0]).toContain("process.env");
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

const planted = (name: string): string => (name === "*.ts" ? "planted.ts" : name.endsWith(".ts") ? name : `${name}/planted.ts`);

/** The import of one file by another, both below `src/`. */
const importing = (from: string, to: string): string[] =>
  violationsOf({ [`src/${from}`]: `import { x } from "${"../".repeat(from.split("/").length - 1)}${to}";\nx();` });

test("a room is refused an import from each room above it, beside it, and below it that its line does not name", () => {
  for (const { parent, rooms } of roomOrder) {
    for (const [at, { names, only, because }] of rooms.entries()) {
      for (const [otherAt, other] of rooms.entries()) {
        for (const from of names) {
          for (const to of other.names.filter((name) => name !== from)) {
            const allowed = otherAt > at && (only === undefined || only.includes(to));
            const reason = otherAt < at ? other.because : because;
            const found = importing(`${parent}/${planted(from)}`, `${parent}/${planted(to)}`);
            const place = `${parent}/${from}`;
            if (allowed) expect(found, `${place} -> ${to}`).toEqual([]);
            else expect(found.join(), `${place} -> ${to}`).toContain(reason);
          }
        }
      }
    }
  }
});

test("files beside the rooms know each other, and a room without a line is refused", () => {
  expect(importing("worker/a.ts", "worker/b.ts")).toEqual([]);
  expect(importing("loops/a.ts", "domain/b.ts")[0]).toContain("src/loops/a.ts has no place in the rooms");
  expect(importing("worker/misc/a.ts", "domain/b.ts")[0]).toContain("src/worker/misc has no place in the rooms");
});

test("every folder with folders in it says in which order they stand, or that they never know each other", () => {
  const folders = new Set(
    readSources({ folders: ["src"], endings: [".ts"] }).flatMap(({ path }) => foldersAbove(path.slice("src/".length))),
  );
  const parents = [...folders].filter((folder) => [...folders].some((other) => other.startsWith(`${folder}/`)));
  expect(parents.length).toBeGreaterThan(8);
  const ordered = [...roomOrder, ...siblingParents].map(({ parent }) => parent);
  expect(parents.filter((parent) => !ordered.includes(parent))).toEqual([]);
});

/** `worker` and `worker/handlers` of `worker/handlers/task.ts`. */
function foldersAbove(path: string): readonly string[] {
  const names = path.split("/").slice(0, -1);
  return names.map((_name, index) => names.slice(0, index + 1).join("/"));
}

test("a line that names what it may import names rooms further down", () => {
  for (const { rooms } of roomOrder) {
    for (const [at, { only = [] }] of rooms.entries()) {
      const below = rooms.slice(at + 1).flatMap(({ names }) => names);
      expect(only.filter((name) => !below.includes(name))).toEqual([]);
    }
  }
});

test("what a layer may never import is refused, however low it stands", () => {
  for (const { layer, never = [], only, because } of layerLimits) {
    const order = layers.map(({ name }) => name);
    const below = order.slice(order.indexOf(layer) + 1);
    const open = [...(only ?? []), "domain", "runtime", "telemetry"];
    const refused = only === undefined ? never : below.filter((name) => !open.includes(name));
    expect(refused.length).toBeGreaterThan(0);
    for (const name of refused) expect(importing(`${layer}/a.ts`, planted(name)).join(), `${layer} -> ${name}`).toContain(because);
    for (const name of only ?? []) expect(importing(`${layer}/a.ts`, planted(name)), `${layer} -> ${name}`).toEqual([]);
  }
});

test("through a narrow door comes what it names alone, and its ends are there", () => {
  const files = readSources({ folders: ["src"], endings: [".ts"] }).map(({ path }) => path.slice("src/".length));
  for (const { from, to, only, because } of narrowDoors) {
    expect(importing(planted(from), `${to}/other.ts`).join(), `${from} -> ${to}`).toContain(because);
    for (const part of only) expect(importing(planted(from), planted(part)), part).toEqual([]);
    const gone = [from, ...only].filter((part) => !files.some((file) => file === part || file.startsWith(`${part}/`)));
    // A layer may be named before its folder exists.
    expect(gone.filter((part) => part.includes("/"))).toEqual([]);
  }
});

test("siblings behind one port never know each other", () => {
  for (const { parent, because } of siblingParents)
    expect(importing(`${parent}/one/a.ts`, `${parent}/two/b.ts`).join(), parent).toContain(because);
});

/** Lines that a rule on text refuses, each with a place where it may stand. */
const refusedLines: Readonly<Record<string, string>> = {
  'emit("run.ended", ended);': "settling/planted.ts",
  'context.emit("item.ended", { itemId });': "settling/planted.ts",
  'emit("item.advanced", { itemId });': "settling/planted.ts",
  'context.emit?.(\n  "item.advanced",\n  { itemId },\n);': "settling/planted.ts",
  'emit(\n  // Told once more.\n  "run.ended", ended);': "settling/planted.ts",
  "await store.outbox.put(entry);": "notify/planted.ts",
  'await putOutboxEntry(tx, now, { kind: "alert", ...entry });': "store/jobs/job-hold.ts",
  "const sql = `insert into outbox (kind, key) values ('alert', ?)`;": "store/sqlite/run-ends.ts",
  "const sql = `insert into outbox (kind, key)\n  select 'alert', key from e`;": "store/postgres/run-ends.ts",
  "await store.runs.settle([settlement]);": "worker/backends/planted.ts",
  "await store.runs.settleLostPage(page);": "settling/planted.ts",
  'const over = worker.state === "dead" || worker.state === "stopped";': "liveness/death-proof.ts",
  'if (state !== "live" &&\n  state !== "draining") give(run);': "liveness/death-proof.ts",
  "if (job.attempts >= job.maxAttempts) hold(job);": "liveness/retry-contract.ts",
  "const again = maxLosses > losses;": "liveness/retry-contract.ts",
  "const spent = visit.losses >= (visit.max_losses ?? 3);": "liveness/retry-contract.ts",
  'query.where("attempts", "<", (eb) => eb.ref("max_attempts"));': "liveness/retry-contract.ts",
  "const sql = `update jobs set state = 'held' where attempts >= max_attempts`;": "liveness/retry-contract.ts",
  "const left = Math.max(0, maxAttempts - attempts);": "operations/why/standing.ts",
};

test("what a rule on text keeps for one place is refused in others, in code that is no test", () => {
  for (const [code, place] of Object.entries(refusedLines)) {
    for (const path of ["src/loops/runs/planted.ts", "src/store/upkeep/planted.ts"])
      expect(violationsOf({ [path]: code }), `${path}: ${code}`).toHaveLength(1);
    expect(violationsOf({ [`src/${place}`]: code, "src/loops/runs/planted.test.ts": code }), code).toEqual([]);
  }
});

test("what a rule on text gives to nobody is refused everywhere", () => {
  for (const code of [
    'query.where("state", "in", ["stopped", "dead"]);',
    "const sql = `select id from workers where state in ('dead', 'stopped')`;",
  ])
    for (const path of ["src/store/upkeep/planted.ts", "src/liveness/death-proof.ts"])
      expect(violationsOf({ [path]: code })[0], code).toContain("is written nowhere");
});

test("a rule on text leaves alone what is said in a comment or only reads", () => {
  const harmless = [
    '// emit("run.ended") is not ours',
    '/* kind: "alert" */ const a = 1; // outbox.put(',
    'if (entry.kind === "alert") deliver(entry);',
    'interface Entry { readonly kind: "alert" }',
    'const verdict = { kind: "alert", reason: "past_ttl" };',
    "const sql = `select * from outbox where kind in ('alert', 'state-file')`;",
    'const silent = life === "dead" || worker.lastHeardAt <= since;',
    'type State = "live" | "draining" | "stopped" | "dead";',
    'const proved = supervisor === "dead" || process.life === "dead";',
    "const alive = `select 1 from workers where state in ('live', 'draining')`;",
    "if (!Number.isInteger(maxAttempts) || maxAttempts < 1) throw wrong;",
    "const sql = `max_attempts integer check (max_attempts >= 1), max_losses <> 3`;",
    "const text = (job) => job.maxAttempts;",
    'if (isWakefulError(thrown) && thrown.code === "conflict") again();',
  ];
  for (const code of harmless) expect(violationsOf({ "src/store/upkeep/planted.ts": code }), code).toEqual([]);
});

test("a violation found over several lines is told with its first line", () => {
  expect(violationsOf({ "src/loops/runs/planted.ts": '// It ended.\nemit(\n  "run.ended",\n);' })).toEqual([
    expect.stringMatching(/^src\/loops\/runs\/planted\.ts:2: telling of the end/),
  ]);
});

test("each place in which a rule on text allows something has such a line, so that no door stays open for nobody", () => {
  const files = readSources({ folders: ["src"], endings: [".ts"] }).filter(({ path }) => !isTestFile(path));
  for (const { what, pattern, allowedIn } of textRules) {
    const written = files.filter(({ text }) => pattern.test(text)).map(({ path }) => path);
    const unused = allowedIn.filter((part) => !written.some((path) => path === `src/${part}` || path.startsWith(`src/${part}/`)));
    expect(unused, what).toEqual([]);
  }
});

/** Where a name stands for the same thing on purpose: alternatives behind one port, the commands, and a door that opens a room. */
const alternatives = ["src/store/sqlite/", "src/store/postgres/", "src/store/migrations/", "src/cli/commands/", "src/index.ts"];

test("no two files export one name for different things", () => {
  const files = readSources({ folders: ["src"], endings: [".ts"] }).filter(({ path }) => !isTestFile(path));
  const exporters = new Map<string, Set<string>>();
  for (const { path, text } of files) {
    if (alternatives.some((start) => path.startsWith(start))) continue;
    for (const [, name = ""] of text.matchAll(/^export (?:abstract |async )*(?:interface|type|class|function|const) (\w+)/gm))
      exporters.set(name, (exporters.get(name) ?? new Set()).add(path));
  }
  expect(exporters.size).toBeGreaterThan(500);
  expect([...exporters].filter(([, paths]) => paths.size > 1).map(([name, paths]) => `${name}: ${[...paths].join(", ")}`)).toEqual([]);
});
