import { WakefulError } from "../../domain/errors.ts";
import type { ItemId, JobId, RunId, WorkerId } from "../../domain/ids.ts";
import { type LoopSnapshot, snapshotOf } from "../../loops/skeleton/loop.ts";
import { type PipelineRegistry, stageNamedBy } from "../../pipelines/registry.ts";
import type { JobRow } from "../../store/port/jobs.ts";
import type { ActionRow } from "../../store/port/records.ts";
import type { LiveRun, RunRow } from "../../store/port/runs.ts";
import type { Store } from "../../store/port/store.ts";
import type { WorkerRow } from "../../store/port/workers.ts";
import type { SettingsEditor } from "../change-settings.ts";
import type { Operations } from "../operations.ts";
import type { JobFacts, SlotHolder, StoryFacts, WaitingFacts } from "./facts.ts";

/** The sources of the answer to `wakeful why`. */
export interface Sources {
  readonly store: Store;
  readonly registry: PipelineRegistry;
  readonly operations: Operations;
  readonly loops: { snapshots(): readonly LoopSnapshot[] };
  /** What loops read at each tick. */
  readonly settings: SettingsEditor;
  /** What keeps new work from being taken, of all queues and of single ones. */
  readonly readiness: () => {
    readonly reasons: readonly string[];
    readonly heldBack: readonly { readonly queue: string; readonly why: string }[];
  };
}

/** Most rows read to name who is ahead or holds the slots; beyond it the story says "at least". */
const lookMax = 1000;
const actionsMax = 500;

export async function factsOfJob(id: JobId, sources: Sources): Promise<StoryFacts> {
  const job = await sources.store.jobs.get(id);
  if (job === undefined) throw new WakefulError("not_found", `There is no job ${id}.`, { details: { jobId: id } });
  return gather(
    { subject: { kind: "job", id }, jobs: [job], itemId: job.itemId, actions: await newestActions(sources.store, { jobId: id }) },
    sources,
  );
}

export async function factsOfRun(id: RunId, sources: Sources): Promise<StoryFacts> {
  const { store } = sources;
  const run = await store.runs.get(id);
  const job = run === undefined ? undefined : await store.jobs.get(run.jobId);
  if (run === undefined || job === undefined) throw new WakefulError("not_found", `There is no run ${id}.`, { details: { runId: id } });
  const actions = (await newestActions(store, { jobId: job.id })).filter((action) => action.runId === id);
  return gather({ subject: { kind: "run", id, attempt: run.attempt, jobId: job.id }, jobs: [job], itemId: job.itemId, actions }, sources);
}

export async function factsOfItem(id: ItemId, sources: Sources): Promise<StoryFacts> {
  const jobs = await sources.store.items.jobs(id);
  return gather(
    {
      subject: { kind: "item", id },
      jobs: jobs.toSorted((a, b) => a.id - b.id),
      itemId: id,
      actions: await newestActions(sources.store, { itemId: id }),
    },
    sources,
  );
}

interface Gathered {
  readonly subject: StoryFacts["subject"];
  readonly jobs: readonly JobRow[];
  readonly itemId: ItemId | null;
  readonly actions: readonly ActionRow[];
}

async function gather({ subject, jobs, itemId, actions }: Gathered, sources: Sources): Promise<StoryFacts> {
  const { store, readiness } = sources;
  const { reasons, heldBack } = readiness();
  const item = itemId === null ? undefined : await store.items.get(itemId);
  if (subject.kind === "item" && item === undefined)
    throw new WakefulError("not_found", `There is no item ${subject.id}.`, { details: { itemId: subject.id } });
  const jobFacts: JobFacts[] = [];
  for (const job of jobs) jobFacts.push(await factsOf(job, sources));
  return {
    now: store.now(),
    subject,
    item,
    visits: item === undefined || subject.kind !== "item" ? [] : await store.items.visits(item.id),
    jobs: jobFacts,
    workers: await workersOf(
      jobFacts.flatMap(({ runs }) => runs),
      store,
    ),
    actions,
    notReady: reasons,
    heldBack: new Map(heldBack.map(({ queue, why }) => [queue, why])),
  };
}

async function factsOf(job: JobRow, { store, registry, operations, loops, settings }: Sources): Promise<JobFacts> {
  const runs = (await store.runs.ofJob(job.id)).toSorted((a, b) => a.attempt - b.attempt);
  return {
    job,
    runs,
    waiting: job.state === "queued" ? await waitingOf(job, { store, registry, operations }) : undefined,
    undeclared: undeclaredStageOf(job, registry),
    gatePatienceMs: registry.stageOfQueue(job.queue)?.stage.gatePatienceMs,
    maxRunningMs: settings.read().reaper.maxRunningMs,
    hungWorkers: snapshotOf(loops.snapshots(), "worker-reaper")?.details.hung,
    remains: job.blockedBy === null ? undefined : snapshotOf(loops.snapshots(), "stopper")?.details.remains[job.id],
  };
}

function undeclaredStageOf({ itemId, queue }: JobRow, registry: Sources["registry"]): JobFacts["undeclared"] {
  return itemId === null || registry.stageOfQueue(queue) !== undefined ? undefined : stageNamedBy(queue);
}

async function waitingOf(
  job: JobRow,
  { store, registry, operations }: Pick<Sources, "store" | "registry" | "operations">,
): Promise<WaitingFacts> {
  const stage = registry.stageOfQueue(job.queue)?.stage;
  const slotKey = stage?.concurrency === undefined ? undefined : stage.concurrencyKey;
  const [paused, alive, slots, queuedJobs, filesAt] = await Promise.all([
    store.upkeep.pausedQueues(),
    store.workers.listAlive(),
    store.upkeep.slots(),
    store.upkeep.listJobs({ states: ["queued"], queue: job.queue, limit: lookMax }),
    filesOf(job, store),
  ]);
  const servedBy = alive.filter((worker) => worker.state === "live" && worker.queues.includes(job.queue));
  const slot = slots.find(({ key }) => key === slotKey);
  const goesFirst = (other: JobRow): boolean =>
    other.id !== job.id &&
    other.blockedBy === null &&
    !other.paused &&
    (other.priority < job.priority || (other.priority === job.priority && other.id < job.id));
  return {
    filesAt,
    queuePaused: paused.includes(job.queue),
    servedBy,
    pausedWorkers: servedBy.flatMap((worker) => {
      const since = operations.workerPausedSince(worker);
      return since === undefined ? [] : [{ id: worker.id, name: worker.name, since }];
    }),
    slot: slot === undefined ? undefined : { ...slot, holders: slot.used < slot.capacity ? [] : await holdersOf(slot.key, store) },
    ahead: queuedJobs.filter(goesFirst).length,
    aheadIsExact: queuedJobs.length < lookMax,
  };
}

/** Where the files of a job's item are. Where one daemon owns the store, they are in its data directory. */
async function filesOf({ itemId }: JobRow, store: Store): Promise<WaitingFacts["filesAt"]> {
  const item = itemId === null || !store.capabilities.manyWriters ? undefined : await store.items.get(itemId);
  if (item === undefined || item.hostId === null) return undefined;
  const daemon = (await store.daemons.list()).find(({ process }) => process.hostId === item.hostId);
  return { place: daemon?.place ?? item.hostId, heardAt: daemon?.heardAt ?? null };
}

/** Live runs that hold a slot, and ended ones whose process is still being stopped. */
async function holdersOf(key: string, store: Store): Promise<readonly SlotHolder[]> {
  const [live, stopping] = await Promise.all([store.runs.listAllLive({ limit: lookMax }), store.runs.listBlocked({ limit: lookMax })]);
  const holds = (run: RunRow | LiveRun): boolean => run.slotKey === key;
  // One run may block two jobs: its own, and that of the next stage.
  const ended = new Map(stopping.filter(({ run }) => holds(run)).map(({ run }) => [run.id, run] as const));
  return [
    ...live.filter(holds).map(({ jobId, attempt }) => ({ jobId, attempt, stopping: false })),
    ...[...ended.values()].map(({ jobId, attempt }) => ({ jobId, attempt, stopping: true })),
  ];
}

async function workersOf(runs: readonly RunRow[], store: Store): Promise<ReadonlyMap<WorkerId, WorkerRow>> {
  const ids = new Set(runs.flatMap(({ workerId }) => (workerId === null ? [] : [workerId])));
  const rows = await Promise.all([...ids].map((id) => store.workers.get(id)));
  return new Map(rows.flatMap((row) => (row === undefined ? [] : [[row.id, row] as const])));
}

/** The newest actions, oldest first. */
async function newestActions(store: Store, of: { readonly jobId?: JobId; readonly itemId?: ItemId }): Promise<readonly ActionRow[]> {
  return (await store.actions.list({ ...of, limit: actionsMax })).toSorted((a, b) => a.id - b.id);
}
