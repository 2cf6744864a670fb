import type { HostId, ItemId, JobId, RunId, WorkerId } from "../../src/domain/ids.ts";
import { asHostId } from "../../src/domain/ids.ts";
import { addMs, asInstant, type DurationMs } from "../../src/domain/time.ts";
import type { RetryTerms } from "../../src/liveness/retry-contract.ts";
import type { ItemRow, StageEntry } from "../../src/store/port/items.ts";
import type { ClaimedRun, Failure, StoredProcess, Success } from "../../src/store/port/runs.ts";
import type { Store } from "../../src/store/port/store.ts";

/** Two stages of a pipeline `p` (commands, the first limited to two at a time) and the task `t` (a handler). */
export async function declareQueues(store: Store): Promise<void> {
  await store.jobs.ensureQueues([
    { name: "p/prep", kind: "command", slot: { key: "p.prep", capacity: 2 } },
    { name: "p/ocr", kind: "command" },
    { name: "t", kind: "handler" },
  ]);
}

export function stageEntry(stage: string, overrides: Partial<StageEntry> = {}): StageEntry {
  return {
    kind: "next",
    stage,
    queue: `p/${stage}`,
    maxAttempts: 3,
    maxLosses: null,
    priority: 0,
    agent: null,
    pipelineVersion: "v1",
    ...overrides,
  };
}

/** An item of pipeline `p` in its first stage, `prep`. */
export async function addItem(store: Store, key = "book", overrides: Partial<StageEntry> = {}, hostId?: HostId): Promise<ItemRow> {
  const { item } = await store.items.add({
    pipeline: "p",
    key,
    dir: key,
    input: "{}",
    hostId,
    first: stageEntry("prep", overrides),
    actor: "test",
  });
  return item;
}

export async function onlyJobOf(store: Store, itemId: ItemId): Promise<JobId> {
  const jobs = await store.items.jobs(itemId);
  const unfinished = jobs.filter((job) => job.finishedAt === null);
  if (unfinished[0] === undefined || unfinished.length > 1) throw new Error(`item ${itemId} has ${unfinished.length} unfinished jobs`);
  return unfinished[0].id;
}

export function processOn(host = "host-a", pid = 100): StoredProcess {
  return { hostId: asHostId(host), bootId: `boot-of-${host}`, pidNamespace: "4026531836", pid, startTime: "12345" };
}

export async function registerWorker(store: Store, name = "worker", process: StoredProcess = processOn()): Promise<WorkerId> {
  return await store.workers.register({ name, kind: "command", process, concurrency: 4, queues: ["p/prep", "p/ocr", "t"] });
}

let claims = 0;

/** One claim of everything claimable, by a worker made for it unless one is given. */
export async function claim(
  store: Store,
  options: { readonly workerId?: WorkerId; readonly queues?: readonly string[]; readonly max?: number } = {},
) {
  claims += 1;
  const queues = options.queues ?? ["p/prep", "p/ocr", "t"];
  return await store.runs.claim({
    claimId: `claim-${claims}`,
    workerId: options.workerId ?? (await registerWorker(store)),
    claimSeq: claims,
    queues: queues.map((name) => ({ name, limits: { maxRunningMs: 86_400_000 } })),
    max: options.max ?? 10,
    startNow: 10,
  });
}

export async function claimOne(store: Store, options: Parameters<typeof claim>[1] = {}): Promise<ClaimedRun> {
  const [run] = await claim(store, { ...options, max: 1 });
  if (run === undefined) throw new Error("nothing was claimable");
  return run;
}

/** The guarded start of a claimed run; a run claimed as started is one already. */
export async function startRun(store: Store, run: ClaimedRun, wrapper: StoredProcess = processOn()): Promise<void> {
  if (run.started) return;
  const now = store.now();
  const [answer] = await store.runs.start([
    {
      runId: run.runId,
      ownerEpoch: run.ownerEpoch,
      startedAt: now,
      wrapper,
      limits: { maxRunningMs: 86_400_000 },
      checkAt: addMs(now, 60_000),
    },
  ]);
  if (answer?.kind !== "ok") throw new Error(`run ${run.runId} did not start: ${JSON.stringify(answer)}`);
}

type EndedRun = Pick<ClaimedRun, "runId" | "ownerEpoch" | "jobId">;

/** The end of a run as a plain success of a job that is done. */
export function success(run: EndedRun, overrides: Partial<Success> = {}): Success {
  const { runId, ownerEpoch, jobId } = run;
  return { runId, ownerEpoch, jobId, outcome: "succeeded", reason: "exit_0", exitCode: 0, ...overrides };
}

/** The retry terms of a stage that retries at once. */
export const atOnce: RetryTerms = { policy: { onExhausted: "fail", delay: { baseMs: 0, maxMs: 0 } }, jitter: 0 };

/** The retry terms of a stage that retries after this delay. */
export function later(ms: DurationMs): RetryTerms {
  return { policy: { onExhausted: "fail", delay: { baseMs: 2 * ms, maxMs: 2 * ms } }, jitter: 0 };
}

/** The end of a run as a failure after which its job fails, whatever its budget says. */
export function failure(run: EndedRun, overrides: Partial<Failure> = {}): Failure {
  return { ...retried(run), disposition: "fail", ...overrides };
}

/** The end of a run as a failure after which its job goes back at once, if an attempt is left. */
export function retried(run: EndedRun, overrides: Partial<Failure> = {}): Failure {
  const { runId, ownerEpoch, jobId } = run;
  const message = `exit code 1 (run ${runId})`;
  const end = { outcome: "failed", reason: "exit_code", message, exitCode: 1, retry: atOnce, actor: "worker" } as const;
  return { runId, ownerEpoch, jobId, ...end, ...overrides };
}

export const noRun = 0 as RunId;
export const farFuture = asInstant(Date.UTC(2100, 0, 1));
