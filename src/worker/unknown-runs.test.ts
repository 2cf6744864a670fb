import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { type CommandRun, commandRun, toolsOf } from "../../test/support/command-run.ts";
import { until } from "../../test/support/until.ts";
import type { RunId } from "../domain/ids.ts";
import { livingMembers } from "../processes/stopping/strays.ts";
import type { RunRow } from "../store/port/runs.ts";
import { stopUnknownRuns } from "./unknown-runs.ts";

const tools = await toolsOf("dash");
if (tools === undefined) throw new Error("dash is not installed");

/** A look at the folder of a run, with a store that knows these of its runs. */
function lookAt({ runDir, host, tree }: CommandRun, store: { known?: readonly RunId[]; followed?: readonly RunId[] } = {}) {
  const asked: RunId[] = [];
  const told: string[] = [];
  const runsDir = dirname(runDir);
  const look = async () =>
    await stopUnknownRuns({
      store: {
        runs: {
          get: async (runId) => {
            asked.push(runId);
            return store.known?.includes(runId) === true ? ({ id: runId } as RunRow) : undefined;
          },
          isFollowed: async (runId) => store.followed?.includes(runId) === true,
        },
      },
      host,
      table: tree.table,
      paths: { dataDir: runsDir, runsDir, workDir: join(runsDir, "work") },
      clock: { mono: () => performance.now() },
      shielded: () => [],
      stopGraceMs: 100,
      killGraceMs: 60_000,
      emit: (name) => void told.push(name),
    });
  return { look, asked, told, runsDir };
}

const lives = async (run: CommandRun) => livingMembers({ ...run.tree, command: await run.command() }).length > 0;

test("a living run that the store has never heard of is stopped, also where it refuses to", async () => {
  const run = await commandRun({ tools, argv: ["sh", "-c", "trap '' TERM; sleep 600; sleep 600"] });
  await run.command();
  const { look, told, runsDir } = lookAt(run);
  mkdirSync(join(runsDir, "notes"));
  expect(await look()).toBe(1);
  expect([await lives(run), told]).toEqual([false, []]);
});

test("a run that the store knows is its own supervisor's to stop", async () => {
  const run = await commandRun({ tools, argv: ["sleep", "600"] });
  await run.command();
  expect(await lookAt(run, { known: [run.runId] }).look()).toBe(0);
  expect(await lives(run)).toBe(true);
});

test("of a run that has ended nothing is asked, unless something of it lives", async () => {
  const run = await commandRun({ tools, argv: ["true"] });
  await run.exit();
  await run.wrapper.exited;
  const { look, asked } = lookAt(run);
  expect([await look(), asked]).toEqual([0, []]);
});

test("what a forgotten run has left to live on stays; where the store is older than the run, it is stopped", async () => {
  const run = await commandRun({ tools, argv: ["sh", "-c", "sleep 600 & exit 0"] });
  await run.exit();
  await until(async () => await lives(run));
  expect(await lookAt(run, { followed: [run.runId] }).look()).toBe(0);
  expect(await lives(run)).toBe(true);
  expect(await lookAt(run).look()).toBe(1);
  expect(await lives(run)).toBe(false);
});
