import { availableParallelism, loadavg } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { messageOf } from "../../src/domain/errors.ts";
import { chanceOf } from "./chance.ts";
import type { EndFault, Fault, Scene } from "./fault.ts";
import { judge } from "./invariants.ts";
import { executionsOf } from "./ledger.ts";
import { type Bounds, busyFactor } from "./limits.ts";
import { Load, type Submission } from "./load.ts";
import { breachesOf, leftAlive, look, type SeenSubmission } from "./observe.ts";
import type { Point } from "./points.ts";
import { uptimeS, within } from "./process-tree.ts";
import type { World } from "./world.ts";

export interface PointReport {
  readonly number: number;
  readonly faults: readonly string[];
  /** What was done. */
  readonly notes: readonly string[];
  /** From the end of the fault until new work started; undefined: it did not. */
  readonly recoveryMs: number | undefined;
  readonly recoveryBoundMs: number;
  /** How long the whole point took. */
  readonly tookMs: number;
  readonly jobs: number;
  /** What does not hold; empty: the point is clean. */
  readonly findings: readonly string[];
}

export interface PointOptions {
  readonly world: World;
  readonly seed: number;
  readonly point: Point;
  readonly faults: readonly Fault[];
  readonly bounds: Bounds;
  /** How often its faults come in a row. */
  readonly times: number;
  /** Job ids of earlier points of this world; grows. */
  readonly knownJobs: Set<number>;
  readonly signal: AbortSignal;
}

/** Under load: one fault, or two at once, their end, then everything that must hold. */
export async function runPoint(options: PointOptions): Promise<PointReport> {
  const { world, seed, point, faults, bounds, signal } = options;
  const began = performance.now();
  const chance = chanceOf(seed, `${world.setUp} point ${point.number}`);
  const findings: string[] = [];
  const notes: string[] = [];
  const harmed = new Set<number>();
  const load = new Load({ clients: () => clientsOf(world), chance, prefix: `p${point.number}` });
  const scene: Scene = {
    world,
    chance,
    load,
    harm: (runId) => void harmed.add(runId),
    find: (what) => void findings.push(what),
    note: (what) => void notes.push(what),
  };
  load.start();
  await pause(chance.whole(500, 900), undefined, { signal });
  for (let time = 0; time < options.times; time += 1) await haveFaults(faults, scene, signal);

  const endedAt = uptimeS();
  const [load1 = 0] = loadavg();
  const startMs = bounds.recoveryMs * busyFactor(load1, availableParallelism());
  const recoveryBoundMs = Math.round(Math.max(startMs, ...faults.map(({ recoversWithinMs = 0 }) => recoversWithinMs)));
  const recoveryMs = await recovery({ world, load, endedAt, boundMs: recoveryBoundMs });
  if (recoveryMs === undefined || recoveryMs > recoveryBoundMs)
    findings.push(
      `new work started ${recoveryMs === undefined ? "not at all" : `after ${recoveryMs} ms`}, and must within ${recoveryBoundMs} ms`,
    );
  await load.stop(bounds.quietMs);
  const seen = await untilQuiet(world, load.submissions, bounds.quietMs);
  findings.push(...(await judged(options, { seen, harmed })));
  for (const daemon of world.daemons)
    if (!daemon.alive) findings.push(`the daemon in ${daemon.folder} ended by itself: ${daemon.lastWords()}`);
  signal.throwIfAborted();
  return {
    number: point.number,
    faults: point.faults,
    notes,
    recoveryMs,
    recoveryBoundMs,
    tookMs: Math.round(performance.now() - began),
    jobs: seen.length,
    findings,
  };
}

/** A daemon that is not up yet has no token to ask with. */
function clientsOf(world: World) {
  return world.daemons.filter(({ alive }) => alive).map(({ client }) => client);
}

async function haveFaults(faults: readonly Fault[], scene: Scene, signal: AbortSignal): Promise<void> {
  const endings: { readonly name: string; readonly end: EndFault }[] = [];
  try {
    for (const fault of faults) {
      const begun = await fault.begin(scene).catch((thrown: unknown) => {
        scene.find(`the bench could not make ${fault.name}: ${messageOf(thrown)}`);
      });
      if (begun !== undefined) endings.unshift({ name: fault.name, end: begun });
    }
    await pause(Math.max(...faults.map((fault) => lastingMs(fault, scene))), undefined, { signal });
  } finally {
    for (const { name, end } of endings)
      await end().catch((thrown: unknown) => scene.find(`the bench could not end ${name}: ${messageOf(thrown)}`));
  }
}

function lastingMs({ lastsMs: [min, max], longerByDefaultMs = 0 }: Fault, { world, chance }: Scene): number {
  return chance.whole(min, max) + (world.limits === "default" ? longerByDefaultMs : 0);
}

interface Recovery {
  readonly world: World;
  readonly load: Load;
  readonly endedAt: number;
  readonly boundMs: number;
}

/** Until a plain task and an item that are handed in now have both begun, by the ledger. */
async function recovery({ world, load, endedAt, boundMs }: Recovery): Promise<number | undefined> {
  const task = load.task({ task: "work", payload: { ms: 0 }, maxLosses: 30, priority: -1000 });
  const item = load.item({ pipeline: "probes", ms: 1 });
  let began: number | undefined;
  await within(2 * boundMs + 5000, async () => {
    const jobs = [task.id, await firstJobOf(world, item)];
    const begins = jobs.map((id) => world.ledger.read().find(({ is, job }) => is === "begin" && job === id)?.at);
    if (begins.some((at) => at === undefined)) return false;
    began = Math.max(...begins.map(Number));
    return true;
  });
  return began === undefined ? undefined : Math.max(0, Math.round(1000 * (began - endedAt)));
}

async function firstJobOf(world: World, item: Submission): Promise<number | undefined> {
  if (item.id === undefined) return undefined;
  // Asked again by the caller.
  return await look(world.speaker.client, item)
    .then(({ accepted }) => accepted.jobs[0])
    .catch(() => undefined);
}

/** Looks at what has not ended yet until everything has, or so long. A daemon that does not answer is asked again. */
async function untilQuiet(world: World, submissions: readonly Submission[], withinMs: number): Promise<readonly SeenSubmission[]> {
  const seen = new Map<Submission, SeenSubmission>();
  const settled = ({ accepted: { final, state } }: SeenSubmission): boolean => final || state === "held";
  await within(
    withinMs,
    async () => {
      for (const submission of submissions) {
        const before = seen.get(submission);
        if (before !== undefined && settled(before)) continue;
        try {
          seen.set(submission, await look(world.speaker.client, submission));
        } catch (thrown) {
          const { name, ends } = submission;
          const state = /not_found/.test(String((thrown as { code?: unknown }).code)) ? undefined : "unknown";
          seen.set(submission, { accepted: { name, ends, state, final: false, why: messageOf(thrown), jobs: [] }, runs: [] });
          if (state === "unknown") return false;
        }
      }
      return [...seen.values()].every(settled);
    },
    150,
  );
  return submissions.flatMap((submission) => seen.get(submission) ?? []);
}

async function judged(
  { world, faults, knownJobs }: PointOptions,
  { seen, harmed }: { seen: readonly SeenSubmission[]; harmed: ReadonlySet<number> },
): Promise<readonly string[]> {
  const jobs = new Set(seen.flatMap(({ accepted }) => accepted.jobs));
  for (const id of jobs) knownJobs.add(id);
  const runs = seen.flatMap((each) => each.runs);
  const executions = executionsOf(world.ledger.read()).filter(({ job }) => jobs.has(job) || !knownJobs.has(job));
  const own = seen.filter(({ accepted }) => accepted.ends !== "done").flatMap(({ accepted }) => accepted.jobs);
  return judge({
    accepted: seen.map(({ accepted }) => accepted),
    runs,
    executions,
    knownJobs,
    explained: faults,
    harmed,
    ownFailures: new Set(own),
    breaches: await breachesOf(world.speaker.client).catch((thrown: unknown) => [`the store could not be checked: ${messageOf(thrown)}`]),
    leftAlive: leftAlive(executions, runs),
  });
}
