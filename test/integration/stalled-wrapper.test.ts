import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { itemDirOf } from "../../src/files/data-paths.ts";
import { lives, untilRun } from "../support/command-runs.ts";
import { type CommandWorld, commandWorld } from "../support/command-world.ts";
import { makeFifo } from "../support/fifo.ts";
import { present } from "../support/present.ts";
import { until } from "../support/until.ts";

type Item = Awaited<ReturnType<CommandWorld["addItem"]>>;

const stateOf = (world: CommandWorld, pid: number): string => {
  const sight = world.table.look(pid);
  return sight.kind === "seen" ? sight.row.state : sight.kind;
};

/** A command at work until `end`, whose wrapper then stands still. Its stage gives a lost job no second chance. */
async function withStoppedWrapper({ dead = false, stage = {} }: { dead?: boolean; stage?: Record<string, unknown> } = {}) {
  const world = await commandWorld('read go < "$WAKEFUL_WORK_DIR/gate"', { stage: { attempts: 1, ...stage } });
  const item = await world.addItem();
  const gate = join(itemDirOf(world.world.paths, item.dir), "gate");
  makeFifo(gate);
  const { worker, start } = await world.worker({ dead });
  start();
  const run = await untilRun(world, item, "started");
  const command = await world.command(run.id);
  await until(async () => (await world.runOf(item)).process?.pid === command.pid, { everyMs: 5 });
  if (dead) await worker.leave();
  const wrapper = present((await world.runOf(item)).wrapper ?? undefined);
  world.table.signal(wrapper.pid, "SIGSTOP");
  await until(() => stateOf(world, wrapper.pid) === "T", { everyMs: 5, what: "the wrapper to stand still" });
  const end = async () => {
    await writeFile(gate, "go\n");
    await until(() => world.probe.observe(command).kind === "dead", { everyMs: 5, what: "the command to end" });
  };
  return { world, item, worker, wrapper, command, end };
}

const continued = ({ world }: CommandWorld): unknown[] =>
  world.events.filter(({ name }) => name === "run.wrapper_continued").map(({ data }) => (data as { readonly pid: number }).pid);

const onlyRunOf = async (world: CommandWorld, item: Item) => {
  const runs = await world.store.runs.ofJob((await world.job(item.id)).id);
  expect(runs).toHaveLength(1);
  return present(runs[0]);
};

test("a command that ended well while its wrapper stood still has succeeded, and runs once [F-9.3]", async () => {
  const { world, item, wrapper, end } = await withStoppedWrapper();
  await end();
  // Two looks prove the death; today's ten seconds are long over at the third.
  for (const ms of [0, 250, 11_000]) {
    world.advance(ms);
    await world.tickReaper();
  }
  await untilRun(world, item, "ended");
  expect(await onlyRunOf(world, item)).toMatchObject({ outcome: "succeeded", exitCode: 0 });
  expect(continued(world)).toContain(wrapper.pid);
});

test("so has one whose supervisor is dead as well [F-9.3]", async () => {
  const { world, item, wrapper, end } = await withStoppedWrapper({ dead: true });
  await end();
  await until(
    async () => {
      world.advance(250);
      await world.tickReaper();
      return (await world.runOf(item)).state === "ended";
    },
    { everyMs: 20, what: "the run to end" },
  );
  expect(await onlyRunOf(world, item)).toMatchObject({ outcome: "succeeded", exitCode: 0 });
  expect(continued(world)).toContain(wrapper.pid);
});

test("its timeout may pass while its end is being written down: it keeps its result [F-9.3]", async () => {
  const { world, item, end } = await withStoppedWrapper({ stage: { timeoutMs: 1000 } });
  await end();
  world.advance(1000);
  await untilRun(world, item, "ended");
  expect(await onlyRunOf(world, item)).toMatchObject({ outcome: "succeeded", exitCode: 0 });
});

test("a wrapper that a person stopped stays stopped while its command is at work [F-9.3]", async () => {
  const { world, item, wrapper, command } = await withStoppedWrapper();
  for (let tick = 0; tick < 3; tick++) {
    world.advance(1000);
    await world.tickReaper();
  }
  expect([stateOf(world, wrapper.pid), lives(world, command.pid)]).toEqual(["T", true]);
  expect((await world.runOf(item)).state).toBe("started");
});

test("nothing is waited for once the wrapper is dead [F-9.3]", async () => {
  const { world, item, wrapper, end } = await withStoppedWrapper({ dead: true });
  // No supervisor lets the wrapper go on before it is killed.
  await end();
  world.table.signal(wrapper.pid, "SIGKILL");
  await until(() => world.probe.observe(wrapper).kind === "dead", { everyMs: 5 });
  for (const ms of [0, 250]) {
    world.advance(ms);
    await world.tickReaper();
  }
  expect(await onlyRunOf(world, item)).toMatchObject({ state: "ended", outcome: "lost", exitCode: null });
});
