import type { Scene } from "../fault.ts";
import { executionsOf } from "../ledger.ts";
import { childrenOf, isAlive, isOfRun, processOf, within } from "../process-tree.ts";
import type { WorldDaemon } from "../world-daemon.ts";

/** A process that is hit, and the run that it belongs to alone. */
export interface Target {
  readonly pid: number;
  readonly run?: number | undefined;
}

export type FindTarget = (scene: Scene) => Promise<Target | undefined>;

/** Longer than a command takes to be there under load. */
const targetWithinMs = 10_000;

async function waitFor(scene: Scene, what: string, look: () => Target | undefined): Promise<Target | undefined> {
  let target: Target | undefined;
  await within(targetWithinMs, () => {
    target = look();
    return target !== undefined;
  });
  if (target === undefined) scene.find(`the bench found no ${what} to hit`);
  return target;
}

/** Commands that are at work just now, by the ledger and by their process. */
const commandsAtWork = ({ world }: Scene): readonly Target[] =>
  executionsOf(world.ledger.read()).filter(
    ({ by, endedAt, pid, run }) => by === "command" && endedAt === undefined && isAlive(pid) && isOfRun(pid, run),
  );

export const command: FindTarget = (scene) =>
  waitFor(scene, "command at work", () => {
    const chosen = scene.chance.pick(commandsAtWork(scene));
    return chosen === undefined ? undefined : { pid: chosen.pid, run: chosen.run };
  });

/** The shell that waits for the command and writes down how it ended. */
export const wrapper: FindTarget = (scene) =>
  waitFor(scene, "wrapper at work", () => {
    const chosen = scene.chance.pick(commandsAtWork(scene));
    const parent = chosen === undefined ? undefined : processOf(chosen.pid)?.parent;
    const isWrapper = parent !== undefined && processOf(parent)?.args.includes("_wkf_") === true;
    return isWrapper ? { pid: parent, run: chosen?.run } : undefined;
  });

/** What a command itself has started. */
export const grandchild: FindTarget = (scene) =>
  waitFor(scene, "child of a command", () => {
    for (const { pid, run } of scene.chance.shuffle(commandsAtWork(scene))) {
      const child = childrenOf(pid).find(({ args }) => args.startsWith("sleep"));
      if (child !== undefined) return { pid: child.pid, run };
    }
    return undefined;
  });

export const drawDaemon = ({ world, chance }: Scene): WorldDaemon => chance.pick(world.daemons) ?? world.speaker;

export const handlerHost: FindTarget = (scene) => {
  const daemon = drawDaemon(scene);
  return waitFor(scene, "handler host", () => {
    const pid = daemon.handlerHostPid();
    return pid === undefined ? undefined : { pid };
  });
};
