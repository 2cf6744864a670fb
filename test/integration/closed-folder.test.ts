import { chmodSync, lstatSync, statSync } from "node:fs";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { runDirOf } from "../../src/files/data-paths.ts";
import { needOpenCheckout, nobody } from "../support/another-user.ts";
import { lives, untilItem, untilRun } from "../support/command-runs.ts";
import { type CommandWorld, commandWorld, filesOf } from "../support/command-world.ts";
import { until } from "../support/until.ts";

const heartbeat = { timeoutMs: 2000, from: "file" } as const;
/** Its first attempt closes the folder of its heartbeat and all records of its run, and runs for ever. */
const shutsItself =
  '[ "$WAKEFUL_ATTEMPT" = 2 ] && exit 0; echo alive > "$WAKEFUL_HEARTBEAT_FILE.new"; chmod 000 "${WAKEFUL_HEARTBEAT_FILE%/*}"; while :; do sleep 1; done';

beforeEach((context) => {
  needOpenCheckout(context);
  // Root can enter every folder. This file has its own process, so it need not become root again.
  if (process.getuid?.() !== 0) return;
  process.setgroups?.([]);
  process.setgid?.(nobody);
  process.setuid?.(nobody);
});

const isShut = (folder: string): boolean => (statSync(folder).mode & 0o777) === 0;

async function untilShut(world: CommandWorld, runId: Parameters<typeof filesOf>[1]): Promise<void> {
  const folder = runDirOf(world.world.paths, runId);
  await until(() => isShut(folder), { everyMs: 5, what: `${folder} to be shut` });
  // The folder must be removable in the end, after a failed test too.
  onTestFinished(() => chmodSync(folder, 0o700));
}

async function loops(world: CommandWorld): Promise<void> {
  await world.tickReaper();
  await world.stopBlocked();
  await world.store.jobs.promoteDue(10);
}

test("a heartbeat in a folder that is shut is silence: hung after twice the timeout, stopped, and run again without a person", async () => {
  const world = await commandWorld(shutsItself, { stage: { heartbeat } });
  const item = await world.addItem();
  const { start } = await world.worker();
  start();
  const run = await untilRun(world, item, "started");
  await untilShut(world, run.id);
  expect(() => lstatSync(filesOf(world, run.id).heartbeat)).toThrow("EACCES");
  world.advance(3999);
  await loops(world);
  await loops(world);
  expect(await world.runOf(item), "within twice its timeout").toMatchObject({ state: "started", progressAt: null });
  world.advance(2);
  await loops(world);
  await loops(world);
  // By its id: the next attempt may be running already.
  const ended = await world.store.runs.get(run.id);
  expect(ended).toMatchObject({ state: "ended", outcome: "hung", spent: "attempt" });
  const { wrapper, process } = ended ?? { wrapper: null, process: null };
  expect(process !== null && lives(world, process.pid)).toBe(false);
  // The wrapper ends after its command, and nobody waits for it if its life pipe cannot be read.
  await until(() => wrapper !== null && !lives(world, wrapper.pid), { everyMs: 5, what: "the wrapper to end" });
  await untilItem(world, item, "done");
  expect((await world.job(item.id)).attempts).toBe(2);
  expect(world.world.eventsOf("loop.subject_failed")).toEqual([]);
});

test("a command that shuts its own folder and dies is lost: what may not be read is not waited for", async () => {
  const world = await commandWorld(shutsItself, { stage: { heartbeat, maxLosses: 3 } });
  const item = await world.addItem();
  const { start } = await world.worker();
  start();
  const run = await untilRun(world, item, "started");
  await untilShut(world, run.id);
  const { wrapper } = await world.runOf(item);
  const command = await until(() => world.table.list().find((row) => row.parentPid === wrapper?.pid), { everyMs: 5 });
  world.table.signal(command.pid, "SIGKILL");
  await until(() => wrapper !== null && world.probe.observe(wrapper).kind === "dead", { everyMs: 5 });
  await loops(world);
  await loops(world);
  expect(await world.runOf(item)).toMatchObject({ state: "ended", outcome: "lost", spent: "loss" });
  await loops(world);
  await untilItem(world, item, "done");
});

test("a command in a shut folder is stopped at its stage's timeout by its own worker", async () => {
  const world = await commandWorld(shutsItself, { stage: { timeoutMs: 1000, attempts: 1 } });
  const item = await world.addItem();
  const { start } = await world.worker();
  start();
  const run = await untilRun(world, item, "started");
  await untilShut(world, run.id);
  world.advance(1000);
  await untilRun(world, item, "ended");
  expect(await world.runOf(item)).toMatchObject({ outcome: "timed_out" });
  await world.stopBlocked();
  expect((await world.job(item.id)).blockedBy).toBeNull();
});
