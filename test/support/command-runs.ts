import { closeSync, openSync, utimesSync } from "node:fs";
import { type CommandWorld, commandWorld } from "./command-world.ts";
import { until } from "./until.ts";

export const forever = "while :; do sleep 1; done";
type Item = Awaited<ReturnType<CommandWorld["addItem"]>>;

export async function untilRun(world: CommandWorld, item: Item, state: string, attempt = 1) {
  return await until(
    async () => {
      const run = await world.runOf(item, attempt);
      return run.state === state ? run : undefined;
    },
    { everyMs: 5, what: `attempt ${attempt} of ${item.key} to be ${state}` },
  );
}

export async function untilItem(world: CommandWorld, item: Item, state: string) {
  return await until(async () => ((await world.store.items.get(item.id))?.state === state ? true : undefined), {
    everyMs: 5,
    what: `${item.key} to be ${state}`,
  });
}

export async function startOne(script: string, stage: Parameters<typeof commandWorld>[1] = {}) {
  const world = await commandWorld(script, stage);
  const item = await world.addItem();
  const { worker, workerId, start } = await world.worker();
  start();
  return { world, item, worker, workerId };
}

/** A zombie has ended; which process reaps it does not matter here. */
export function lives(world: CommandWorld, pid: number): boolean {
  const sight = world.table.look(pid);
  return sight.kind === "seen" && sight.row.state !== "Z";
}

/** How a test asks for the run that beats; it may not be there yet. */
export type RunAsked = () => Promise<{ readonly progressAt: number | null } | undefined>;

/**
 * Makes a run's heartbeat file, and waits until its worker has seen it. A new file counts by its age on this machine's clock: call it when
 * the run is older than that by the test's clock.
 */
export async function makeHeartbeat(path: string, run: RunAsked): Promise<void> {
  const before = (await run())?.progressAt;
  // Writing anything would be a second change.
  closeSync(openSync(path, "wx"));
  await until(async () => (await run())?.progressAt !== before, { everyMs: 5, what: `${path} to be seen` });
}

let touches = 0;

/** Touches a heartbeat file that its worker has seen, once, and waits until the store has that. */
export async function beat(world: CommandWorld, path: string, run: RunAsked): Promise<void> {
  touches += 1;
  utimesSync(path, touches, touches);
  await until(async () => (await run())?.progressAt === world.world.clock.now(), { everyMs: 5, what: `the beat of ${path} to be stored` });
}
