/** How long a user waits after a SIGKILL of a command, of the handler host, or of the daemon with running commands. */
import { setTimeout as pause } from "node:timers/promises";
import { answer, inFolder, question, whenStopped } from "./answer.ts";
import { library } from "./built.ts";
import { BenchDaemon, startedKeys, startsOf, timeUntil, writeProject } from "./daemon.ts";

const { api } = library;
const { what, kills } = question() as { what: "command" | "handler" | "daemon"; kills: number };

await inFolder(async (folder) => {
  writeProject(folder, what === "handler" ? "handler" : "command");
  whenStopped(() => killStarted(folder));
  const daemon = await BenchDaemon.start(folder);
  try {
    if (what === "daemon") answer(await killDaemon(folder, daemon));
    else answer(await killRuns(folder, daemon));
  } finally {
    await daemon.stop();
    killStarted(folder);
  }
});

/** Kills what outlives a daemon that was killed and not started again. */
function killStarted(folder: string): void {
  for (const key of startedKeys(folder)) for (const pid of startsOf(folder, key)) if (isAlive(pid)) process.kill(pid, "SIGKILL");
}

async function submit(daemon: BenchDaemon, key: string): Promise<void> {
  await daemon.client.call(api.submitItem, { params: { name: "bench" }, body: { key } });
  await timeUntil(() => startsOf(daemon.folder, key).length === 1, `the first start of ${key}`);
}

/** From the kill to the first line of the next run. Each item is killed once: a second loss in a row waits. */
async function killRuns(folder: string, daemon: BenchDaemon): Promise<Readonly<Record<string, unknown>>> {
  const nextAfterMs: number[] = [];
  for (let at = 0; at < kills; at++) {
    const key = `kill-${at}`;
    await submit(daemon, key);
    // Long enough for the start to be stored, and out of step with the loops.
    await pause(1500 + 137 * at);
    const pid = startsOf(folder, key).at(-1);
    if (pid === undefined) throw new Error(`the run of ${key} left no pid`);
    process.kill(pid, "SIGKILL");
    nextAfterMs.push(await timeUntil(() => startsOf(folder, key).length === 2, `the next run of ${key}`));
    const { items } = await daemon.client.call(api.listItems, { query: { pipeline: "bench", key } });
    const [item] = items;
    if (item !== undefined) await daemon.client.call(api.cancelItem, { params: { id: item.id }, body: {} });
  }
  return { samples: nextAfterMs };
}

async function killDaemon(folder: string, daemon: BenchDaemon): Promise<Readonly<Record<string, unknown>>> {
  const keys = Array.from({ length: 20 }, (_, at) => `item-${at}`);
  for (const key of keys) await daemon.client.call(api.submitItem, { params: { name: "bench" }, body: { key } });
  await timeUntil(() => startedKeys(folder).length === 20, "the start of all commands");
  await pause(1500);
  const before = await liveRuns(daemon);
  await daemon.kill();
  const again = await BenchDaemon.start(folder);
  try {
    await pause(5000);
    const after = await liveRuns(again);
    const workers = await again.client.call(api.listWorkers, { query: { state: "live" } });
    const live = new Set(workers.workers.map((worker) => worker.id));
    let adopted = 0;
    for (const [runId, run] of after) if (before.has(runId) && run.workerId !== null && live.has(run.workerId)) adopted++;
    const restarted = keys.filter((key) => startsOf(folder, key).length !== 1).length;
    const lost = keys.filter((key) => !isAlive(startsOf(folder, key).at(0))).length;
    return { adopted, restarted, lost, readyAfterMs: again.readyAfterMs };
  } finally {
    await again.stop();
  }
}

async function liveRuns(daemon: BenchDaemon): Promise<ReadonlyMap<number, { readonly workerId: number | null }>> {
  const { runs } = await daemon.client.call(api.listRuns, { query: { limit: 100 } });
  return new Map(runs.map((run) => [run.id, { workerId: run.workerId }]));
}

function isAlive(pid: number | undefined): boolean {
  try {
    return pid !== undefined && process.kill(pid, 0);
  } catch {
    // No such process.
    return false;
  }
}
