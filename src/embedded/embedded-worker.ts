import { WakefulError } from "../domain/errors.ts";
import type { JobId } from "../domain/ids.ts";
import type { JobRow } from "../store/port/jobs.ts";
import type { Store } from "../store/port/store.ts";
import type { HandlerSessions } from "../worker/handlers/handler-sessions.ts";
import type { EmbeddedTask } from "./embedded-options.ts";
import type { JobWaiters } from "./job-waiters.ts";

export interface EnqueueOptions {
  /** Lower goes first. -32768 to 32767, default 0. */
  readonly priority?: number;
  /** How long to wait before the job may be taken, in milliseconds. Default 0. */
  readonly delayMs?: number;
  /** Attempts in all. At least 1; default the task's. */
  readonly maxAttempts?: number;
  /** Losses (deaths of its process) after which the job is held for a person. Absent: a loss spends an attempt. */
  readonly maxLosses?: number;
}

/** A store with a worker in this process. */
export interface Embedded<Name extends string = string> extends AsyncDisposable {
  /**
   * Adds a job; resolves once it is durable. `payload` is any JSON value. The same `enqueueId` again answers the job that it made.
   * @throws {WakefulError} `bad_request`: no such task, not JSON, or an option out of its bounds; `disk_full`; `unavailable`.
   */
  enqueue(task: Name, payload: unknown, options?: EnqueueOptions & { readonly enqueueId?: string }): Promise<JobId>;
  /** The same for many jobs in one transaction, about ten times as fast each. Ids in the order of the payloads. Batches of 1000 are best. */
  enqueueMany(task: Name, payloads: readonly unknown[], options?: EnqueueOptions): Promise<readonly JobId[]>;
  /** The job as the store has it; `undefined`: there is none, or retention removed it. */
  get(jobId: JobId): Promise<JobRow | undefined>;
  /**
   * Resolves when the job has ended, whoever ended it, or is held for a person. Retries are waited for.
   * @throws {WakefulError} `not_found`; `unavailable` when this process stops first.
   */
  waitFor(jobId: JobId): Promise<JobRow>;
  /**
   * Takes no more jobs and closes the store. Handlers are asked to stop (`context.signal`) and given 5 s; what they throw in answer spends
   * nothing. Repeated calls answer the first one's promise.
   *
   * @param options - `drain`: waits for the active handlers however long they take. Default false.
   * @returns how many handlers are still busy: their jobs run again with the next start, once this process is gone.
   */
  stop(options?: { readonly drain?: boolean }): Promise<{ readonly busy: number }>;
}

export interface EmbeddedParts {
  readonly store: Store;
  readonly tasks: ReadonlyMap<string, EmbeddedTask>;
  readonly sessions: HandlerSessions;
  readonly waiters: JobWaiters;
  /** Stops and closes everything. Resolves to the number of handlers that are still busy. */
  readonly shutDown: (drain: boolean) => Promise<number>;
}

/** What the application holds of its worker. */
export class EmbeddedWorker implements Embedded {
  readonly #store: Store;
  readonly #tasks: ReadonlyMap<string, EmbeddedTask>;
  readonly #sessions: HandlerSessions;
  readonly #waiters: JobWaiters;
  readonly #shutDown: (drain: boolean) => Promise<number>;
  #stopped: Promise<{ readonly busy: number }> | undefined;

  constructor(parts: EmbeddedParts) {
    this.#store = parts.store;
    this.#tasks = parts.tasks;
    this.#sessions = parts.sessions;
    this.#waiters = parts.waiters;
    this.#shutDown = parts.shutDown;
  }

  async enqueue(task: string, payload: unknown, options: EnqueueOptions & { readonly enqueueId?: string } = {}): Promise<JobId> {
    const { enqueueId, ...rest } = options;
    const job = { payload: jsonOf(payload), enqueueId };
    const [jobId] = await this.#add(task, [job], rest);
    if (jobId === undefined) throw new WakefulError("internal", "The store answered no id for the job.");
    return jobId;
  }

  async enqueueMany(task: string, payloads: readonly unknown[], options: EnqueueOptions = {}): Promise<readonly JobId[]> {
    return await this.#add(
      task,
      payloads.map((payload) => ({ payload: jsonOf(payload) })),
      options,
    );
  }

  async get(jobId: JobId): Promise<JobRow | undefined> {
    return await this.#store.jobs.get(jobId);
  }

  async waitFor(jobId: JobId): Promise<JobRow> {
    return await this.#waiters.waitFor(jobId);
  }

  stop({ drain = false }: { readonly drain?: boolean } = {}): Promise<{ readonly busy: number }> {
    this.#stopped ??= this.#shutDown(drain).then((busy) => ({ busy }));
    return this.#stopped;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #add(
    name: string,
    jobs: readonly { readonly payload: string; readonly enqueueId?: string | undefined }[],
    options: EnqueueOptions,
  ): Promise<readonly JobId[]> {
    const task = this.#tasks.get(name);
    if (task === undefined)
      throw new WakefulError("bad_request", `There is no task ${JSON.stringify(name)} here.`, { details: { task: name } });
    const added = this.#store.jobs.enqueue({
      ...options,
      maxAttempts: options.maxAttempts ?? task.maxAttempts,
      queue: name,
      jobs,
    });
    // An idle worker claims in the same transaction.
    this.#sessions.lookAgain();
    return added;
  }
}

function jsonOf(payload: unknown): string {
  let text: string | undefined;
  try {
    text = payload === undefined ? "null" : (JSON.stringify(payload) as string | undefined);
  } catch (cause) {
    throw new WakefulError("bad_request", "The payload is not JSON.", { cause });
  }
  if (text === undefined) throw new WakefulError("bad_request", `The payload is a ${typeof payload}, which JSON cannot hold.`);
  return text;
}
