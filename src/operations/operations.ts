import { isWakefulError, WakefulError } from "../domain/errors.ts";
import type { HostId, ItemId, JobId, WorkerId } from "../domain/ids.ts";
import type { JsonText } from "../domain/json-text.ts";
import { runTaskName } from "../domain/run-task.ts";
import { addMs, type DurationMs, type Instant, seconds } from "../domain/time.ts";
import { isLivingDaemon } from "../liveness/daemon-policy.ts";
import { checkedItemKey, itemDirectories } from "../pipelines/item-key.ts";
import { StoredStages } from "../pipelines/reading/stored-stages.ts";
import { type PipelineRegistry, stageNamedBy } from "../pipelines/registry.ts";
import { tellCancelled } from "../settling/tell-ends.ts";
import type { ItemRow, StageEntry } from "../store/port/items.ts";
import type { JobRow } from "../store/port/jobs.ts";
import type { DuplicateRow } from "../store/port/records.ts";
import type { Store } from "../store/port/store.ts";
import type { Emit } from "../telemetry/events.ts";
import { isDaemonWorker, type NamedWorker, type PausedWorkers } from "./paused-workers.ts";

export interface OperationsOptions {
  readonly store: Store;
  readonly registry: PipelineRegistry;
  readonly emit: Emit;
  /** Whose data directory holds the work directory of what is submitted. Absent: any host may run it. */
  readonly hostId?: HostId | undefined;
  /** Makes the key of an item that was submitted without one. */
  readonly newKey: () => string;
  /** Tasks that may be enqueued outside any pipeline: those that handlers declare. */
  readonly tasks: () => ReadonlySet<string>;
  readonly pausedWorkers: PausedWorkers;
  /** How long a stopped process may take to be gone: stop grace + kill grace + 10 s. */
  readonly stopWithinMs: () => DurationMs;
}

export interface Submission {
  readonly pipeline: string;
  readonly key?: string | undefined;
  readonly input?: JsonText | undefined;
  readonly label?: string | undefined;
  readonly repo?: string | undefined;
  readonly branch?: string | undefined;
}

export interface TaskRequest {
  readonly task: string;
  readonly payload?: JsonText | undefined;
  readonly enqueueId?: string | undefined;
  readonly delayMs?: DurationMs | undefined;
  readonly priority?: number | undefined;
  readonly maxAttempts?: number | undefined;
  readonly maxLosses?: number | undefined;
  readonly agent?: string | undefined;
  readonly repo?: string | undefined;
}

export type PauseTarget =
  | { readonly kind: "all" }
  | { readonly kind: "pipeline"; readonly name: string }
  | { readonly kind: "queue"; readonly name: string }
  | { readonly kind: "worker"; readonly id: number }
  | { readonly kind: "item"; readonly id: number };

/** A daemon that was silent for so long will run nothing soon. */
const silentMs: DurationMs = seconds(30);

interface Person {
  /** Who asks, for the action log. */
  readonly actor: string;
}

/** What people may do with items and jobs: the rules between a request and the store's guarded verbs. */
export class Operations {
  readonly #options: OperationsOptions;
  readonly #stored: StoredStages;

  constructor(options: OperationsOptions) {
    this.#options = options;
    this.#stored = new StoredStages(options.registry, options.store.items);
  }

  /** Adds an item to its pipeline's first stage. The same key again returns the existing item. */
  async submit(submission: Submission & Person): Promise<{ readonly item: ItemRow; readonly created: boolean }> {
    const { registry, store, emit, newKey, hostId } = this.#options;
    const pipeline = registry.get(submission.pipeline);
    if (pipeline === undefined) throw this.#unknownPipeline(submission.pipeline);
    const key = checkedItemKey(submission.key ?? newKey());
    const first = this.#entry(submission.pipeline, pipeline.definition.first);
    const { input = "null", label, repo, branch, actor } = submission;
    const unplaced = { pipeline: submission.pipeline, key, input, first, actor, label, repo, branch, hostId };
    const add = (dir: string) => store.items.add({ ...unplaced, dir });
    const added = await this.#inFreeDirectory(itemDirectories({ key, pipeline: submission.pipeline }), add);
    const { item, created } = added;
    if (created) emit("item.added", { itemId: item.id, pipeline: item.pipeline, key: item.key, label: item.label });
    return added;
  }

  /** Gives an item to the daemon of another data directory, which has its files now. */
  async moveItem({ id, host, actor }: { readonly id: ItemId; readonly host: string } & Person): Promise<{
    readonly host: HostId;
    readonly place: string;
  }> {
    const { store } = this.#options;
    const item = await this.#item(id);
    const daemons = await store.daemons.list();
    const to = daemons.find(({ process, place }) => process.hostId === host || place === host);
    if (to === undefined) {
      const known = daemons.map(({ place }) => place);
      throw new WakefulError("not_found", `No daemon of ${host} is known; known are: ${known.join(", ") || "none"}.`, {
        details: { known },
      });
    }
    const { hostId } = to.process;
    const from = daemons.find(({ process }) => process.hostId === item.hostId);
    const lives = from !== undefined && from.process.hostId !== hostId && isLivingDaemon(from, { deadAfterMs: silentMs }, store.now());
    const moved = await store.items.move(id, { to: hostId, unless: lives ? "waiting" : undefined, actor });
    if (moved === "moved") return { host: hostId, place: to.place };
    const why =
      moved === "running"
        ? "runs, or is being stopped: wait for it, or cancel it first"
        : `waits for the daemon of ${from?.place ?? "its host"}, which lives and will run it: pause it first with \`wakeful pause item:${id}\``;
    throw new WakefulError("conflict", `Item ${id} ${why}.`, { details: { state: item.state } });
  }

  /** Retries a failed item where it failed, with a fresh budget. */
  async retryItem({ id, actor }: { readonly id: ItemId } & Person): Promise<JobId> {
    const item = await this.#item(id);
    const jobId = await this.#options.store.items.retry(id, { entry: this.#entry(item.pipeline, item.stage), actor });
    if (jobId === undefined)
      throw new WakefulError("conflict", `Item ${id} is ${item.state}; only a failed item without unfinished work can be retried.`, {
        details: { state: item.state },
      });
    return jobId;
  }

  /** Runs an item again from a stage, by default its first. */
  async rerunItem({ id, from, actor }: { readonly id: ItemId; readonly from?: string | undefined } & Person): Promise<JobId> {
    const item = await this.#item(id);
    const pipeline = this.#options.registry.get(item.pipeline);
    if (pipeline === undefined) throw this.#unknownPipeline(item.pipeline);
    const stage = from ?? pipeline.definition.first;
    const entry = this.#entry(item.pipeline, stage);
    const jobId = await this.#options.store.items.rerun(id, {
      entry,
      uncounted: this.#options.registry.stagesFrom(item.pipeline, stage),
      actor,
    });
    if (jobId === undefined)
      throw new WakefulError("conflict", `Item ${id} still has unfinished work in stage ${item.stage}: wait for it, or cancel it first.`, {
        details: { state: item.state, stage: item.stage },
      });
    return jobId;
  }

  /** Repeats a finished plain job as a new one; a job of an item retries its item. */
  async retryJob({ id, actor }: { readonly id: JobId } & Person): Promise<JobId> {
    const job = await this.#job(id);
    if (job.itemId !== null) return this.retryItem({ id: job.itemId, actor });
    if (job.queue === runTaskName)
      throw new WakefulError("conflict", `Job ${id} was a command in somebody's foreground: run it again with \`wakeful run\`.`, {
        details: { state: job.state },
      });
    const newJobId = await this.#options.store.jobs.retry(id, { actor });
    if (newJobId === undefined)
      throw new WakefulError("conflict", `Job ${id} is ${job.state}; only a finished job can be retried.`, {
        details: { state: job.state },
      });
    this.#options.emit("job.retried", { jobId: id, newJobId, actor });
    return newJobId;
  }

  async unhold({ id, force, actor }: { readonly id: JobId; readonly force: boolean } & Person): Promise<void> {
    const job = await this.#job(id);
    if (job.state === "held" && job.itemId !== null) await this.#mustBeDeclared(job);
    if (!(await this.#options.store.jobs.unhold(id, { actor, force }))) {
      throw new WakefulError(
        "conflict",
        `Job ${id} is ${job.state}; only a held job can be unheld, or with force one whose last run cannot be stopped.`,
        { details: { state: job.state } },
      );
    }
    this.#options.emit("job.unheld", { jobId: id, actor });
  }

  async cancelJob({ id, reason, actor }: { readonly id: JobId; readonly reason: string } & Person): Promise<void> {
    const job = await this.#job(id);
    const cancelled = await this.#options.store.jobs.cancel(id, { actor, reason, stopBy: this.#stopBy() });
    if (cancelled === undefined) {
      throw new WakefulError("conflict", `Job ${id} has ended already (${job.state}).`, { details: { state: job.state } });
    }
    this.#options.emit("job.cancelled", { jobId: id, actor, reason });
    tellCancelled(this.#options.emit, cancelled, { actor, reason });
  }

  async cancelItem({ id, reason, actor }: { readonly id: ItemId; readonly reason: string } & Person): Promise<void> {
    const item = await this.#item(id);
    const cancelled = await this.#options.store.items.cancel(id, { actor, reason, stopBy: this.#stopBy() });
    if (cancelled === undefined) {
      throw new WakefulError("conflict", `Item ${id} has ended already (${item.state}).`, { details: { state: item.state } });
    }
    tellCancelled(this.#options.emit, cancelled, { actor, reason });
  }

  /** Pauses or resumes; returns how many queues, workers or items changed. */
  async setPaused({ target, paused, actor }: { readonly target: PauseTarget; readonly paused: boolean } & Person): Promise<number> {
    const { store, registry } = this.#options;
    if (target.kind === "item") {
      const item = await this.#item(target.id as ItemId);
      if (await store.items.setPaused(item.id, { paused, actor })) return 1;
      const wanted = paused ? "paused" : "active";
      if (item.state === wanted) return 0;
      throw new WakefulError("conflict", `Item ${item.id} is ${item.state} and can be neither paused nor resumed.`, {
        details: { state: item.state },
      });
    }
    if (target.kind === "worker") return await this.#setWorkerPaused(target.id as WorkerId, { paused, actor });
    if (target.kind === "all") return store.upkeep.setQueuePaused({ queues: "all", paused, actor });
    if (target.kind === "pipeline") {
      const stages = registry.get(target.name)?.definition.stages;
      if (stages === undefined) throw this.#unknownPipeline(target.name);
      return store.upkeep.setQueuePaused({ queues: Object.keys(stages).map((stage) => `${target.name}/${stage}`), paused, actor });
    }
    if (!(await this.#knownQueues()).has(target.name))
      throw new WakefulError("not_found", `There is no queue "${target.name}".`, { details: { queue: target.name } });
    return store.upkeep.setQueuePaused({ queues: [target.name], paused, actor });
  }

  isWorkerPaused(worker: NamedWorker): boolean {
    return this.#options.pausedWorkers.has(worker);
  }

  /** Undefined: not paused. Null: paused since an unknown time. */
  workerPausedSince(worker: NamedWorker): Instant | null | undefined {
    return this.#options.pausedWorkers.since(worker);
  }

  async #setWorkerPaused(id: WorkerId, { paused, actor }: { readonly paused: boolean } & Person): Promise<number> {
    const { store, pausedWorkers } = this.#options;
    const worker = await store.workers.get(id);
    if (worker === undefined) throw new WakefulError("not_found", `There is no worker ${id}.`, { details: { workerId: id } });
    if (!isDaemonWorker(worker)) {
      throw new WakefulError(
        "conflict",
        `Worker ${id} (${worker.name}) is no daemon's, and asks nobody whether it may claim: stop the process that it is part of, or pause its queues.`,
        { details: { workerId: id, name: worker.name } },
      );
    }
    if (!(await pausedWorkers.set(worker, { paused, at: store.now() }))) return 0;
    await store.actions.append([{ action: paused ? "worker.paused" : "worker.resumed", actor, workerId: id, message: worker.name }]);
    return 1;
  }

  /** Enqueues a declared task. Stages are entered through items alone, so their queues are refused. */
  async enqueueTask(request: TaskRequest): Promise<JobId> {
    const { store, tasks, emit } = this.#options;
    const { task, payload, enqueueId, ...group } = request;
    const declared = tasks();
    if (!declared.has(task)) {
      throw new WakefulError("not_found", `No handler declares the task "${task}"; declared are: ${[...declared].join(", ") || "none"}.`, {
        details: { task },
      });
    }
    const jobIds = await store.jobs.enqueue({ ...group, queue: task, jobs: [{ payload, enqueueId }] });
    const [jobId] = jobIds;
    if (jobId === undefined) throw new WakefulError("internal", "The store answered an enqueue without an id.");
    emit("job.enqueued", { jobIds, queue: task });
    return jobId;
  }

  async decideDuplicate({
    id,
    decision,
    actor,
  }: { readonly id: number; readonly decision: NonNullable<DuplicateRow["decision"]> } & Person): Promise<void> {
    const { duplicates } = this.#options.store;
    if (await duplicates.decide(id, decision, actor)) return;
    const found = await duplicates.get(id);
    if (found === undefined) throw new WakefulError("not_found", `There is no duplicate ${id}.`, { details: { id } });
    throw new WakefulError("conflict", `Duplicate ${id} was decided before: ${found.decision ?? "just now"}.`, { details: { id } });
  }

  /** Tries the directories in turn: the store's unique index says which is free, so that two submissions at once cannot share one. */
  async #inFreeDirectory<T>(directories: readonly string[], add: (dir: string) => Promise<T>): Promise<T> {
    for (const [index, dir] of directories.entries()) {
      try {
        return await add(dir);
      } catch (thrown) {
        const last = index === directories.length - 1;
        if (last || !isWakefulError(thrown) || thrown.code !== "conflict") throw thrown;
      }
    }
    throw new WakefulError("bad_request", "The item key and the pipeline's name together are too long for a directory.");
  }

  #stopBy(): Instant {
    return addMs(this.#options.store.now(), this.#options.stopWithinMs());
  }

  /** By the rule of those who hold what waits for a stage that is gone: unheld before, the job would be held again at their next look. */
  async #mustBeDeclared({ id, queue }: JobRow): Promise<void> {
    const { registry, store } = this.#options;
    const stage = registry.stageOfQueue(queue) === undefined ? stageNamedBy(queue) : undefined;
    if (stage === undefined) return;
    const alive = await store.workers.listAlive();
    if (alive.some(({ queues }) => queues.includes(queue)) || (await this.#stored.declaredElsewhere([stage])).size > 0) return;
    throw new WakefulError(
      "stage_undeclared",
      `Job ${id} waits for stage ${stage.stage} of pipeline ${stage.pipeline}, which is not declared: declare it first, restart, and unhold the job then.`,
      { details: { jobId: id, ...stage } },
    );
  }

  #entry(pipeline: string, stage: string): StageEntry {
    const { registry } = this.#options;
    const entry = registry.entry(pipeline, stage);
    if (entry !== undefined) return entry;
    const known = Object.keys(registry.get(pipeline)?.definition.stages ?? {});
    if (known.length === 0) throw this.#unknownPipeline(pipeline);
    throw new WakefulError("bad_request", `Pipeline "${pipeline}" has no stage "${stage}"; it has ${known.join(", ")}.`, {
      details: { stage, known },
    });
  }

  #unknownPipeline(pipeline: string): WakefulError {
    const known = this.#options.registry.all().map(({ definition }) => definition.name);
    return new WakefulError("not_found", `There is no pipeline "${pipeline}"; the configuration has ${known.join(", ") || "none"}.`, {
      details: { pipeline, known },
    });
  }

  async #item(id: ItemId): Promise<ItemRow> {
    const item = await this.#options.store.items.get(id);
    if (item === undefined) throw new WakefulError("not_found", `There is no item ${id}.`, { details: { itemId: id } });
    return item;
  }

  async #job(id: JobId): Promise<JobRow> {
    const job = await this.#options.store.jobs.get(id);
    if (job === undefined) throw new WakefulError("not_found", `There is no job ${id}.`, { details: { jobId: id } });
    return job;
  }

  async #knownQueues(): Promise<ReadonlySet<string>> {
    const { registry, tasks } = this.#options;
    return new Set([...registry.queues().map((queue) => queue.name), ...tasks()]);
  }
}
