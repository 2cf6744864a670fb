import { WakefulError } from "../domain/errors.ts";
import type { JobId } from "../domain/ids.ts";
import type { DurationMs } from "../domain/time.ts";
import type { JobRow } from "../store/port/jobs.ts";

export interface JobWaitersOptions {
  readonly get: (jobId: JobId) => Promise<JobRow | undefined>;
  /** How often jobs are looked at that may have ended elsewhere. Default 1000. */
  readonly pollMs?: DurationMs;
}

interface Waiter {
  readonly promise: Promise<JobRow>;
  readonly resolve: (job: JobRow) => void;
  readonly reject: (reason: unknown) => void;
}

/** Whoever waits for jobs to end. Costs nothing while nobody waits, and then one read per job that was settled here. */
export class JobWaiters {
  readonly #options: JobWaitersOptions;
  readonly #waiters = new Map<JobId, Waiter>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: JobWaitersOptions) {
    this.#options = options;
  }

  async waitFor(jobId: JobId): Promise<JobRow> {
    if (this.#closed) throw stopped(jobId);
    let waiter = this.#waiters.get(jobId);
    if (waiter === undefined) {
      waiter = newWaiter();
      this.#waiters.set(jobId, waiter);
      this.#timer ??= setInterval(() => this.#lookAtAll(), this.#options.pollMs ?? 1000).unref();
      this.#look(jobId, waiter);
    }
    return await waiter.promise;
  }

  /** Runs of these jobs were settled just now. */
  settled(ended: readonly { readonly jobId: JobId }[]): void {
    if (this.#waiters.size === 0) return;
    for (const { jobId } of ended) {
      const waiter = this.#waiters.get(jobId);
      if (waiter !== undefined) this.#look(jobId, waiter);
    }
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    for (const [jobId, waiter] of this.#waiters) waiter.reject(stopped(jobId));
    this.#waiters.clear();
  }

  #lookAtAll(): void {
    for (const [jobId, waiter] of this.#waiters) this.#look(jobId, waiter);
  }

  #look(jobId: JobId, waiter: Waiter): void {
    this.#options.get(jobId).then(
      (job) => {
        if (job === undefined) {
          waiter.reject(new WakefulError("not_found", `There is no job ${jobId}.`, { details: { jobId } }));
        } else if (job.finishedAt === null && job.state !== "held") {
          return;
        } else {
          waiter.resolve(job);
        }
        this.#forget(jobId);
      },
      (thrown: unknown) => {
        waiter.reject(thrown);
        this.#forget(jobId);
      },
    );
  }

  #forget(jobId: JobId): void {
    this.#waiters.delete(jobId);
    if (this.#waiters.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

function newWaiter(): Waiter {
  let resolve: Waiter["resolve"] = () => undefined;
  let reject: Waiter["reject"] = () => undefined;
  const promise = new Promise<JobRow>((done, failed) => {
    resolve = done;
    reject = failed;
  });
  return { promise, resolve, reject };
}

const stopped = (jobId: JobId): WakefulError =>
  new WakefulError("unavailable", `This process stopped before job ${jobId} ended; the job goes on with the next start.`, {
    details: { jobId },
  });
