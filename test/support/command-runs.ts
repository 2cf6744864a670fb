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

/** A zombie has ended; who reaps it is not ours to say. */
export function lives(world: CommandWorld, pid: number): boolean {
  const sight = world.table.look(pid);
  return sight.kind === "seen" && sight.row.state !== "Z";
}
