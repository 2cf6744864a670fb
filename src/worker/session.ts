import { isWakefulError, messageOf } from "../domain/errors.ts";
import type { RunId, WorkerId } from "../domain/ids.ts";
import type { DurationMs } from "../domain/time.ts";
import type { ProcessIdentity } from "../processes/identity.ts";
import type { WorkerRow } from "../store/port/workers.ts";
import type { Store } from "../store/store.ts";
import type { Emit } from "../telemetry/events.ts";

export interface SessionOptions {
  readonly workers: Pick<Store["workers"], "register" | "renew" | "drain" | "leave">;
  readonly name: string;
  readonly kind: WorkerRow["kind"];
  readonly process: ProcessIdentity;
  readonly concurrency: number;
  readonly queues: readonly string[];
  readonly renewMs: DurationMs;
  readonly held: () => readonly RunId[];
  readonly claimSeqReceived: () => number;
  readonly loopLagMs?: () => number;
  /** A held run is not ours any more. */
  readonly onLost: (runId: RunId, why: string) => void;
  /** The session was buried while its process lives: everything it held is lost, and a new session takes its place. */
  readonly onNewSession: (workerId: WorkerId) => void;
  readonly onRenewed?: (renewal: {
    readonly workerId: WorkerId;
    readonly held: readonly RunId[];
    readonly claimSeqReceived: number;
  }) => void;
  readonly emit: Emit;
}

/** The presence of one worker in this process: registered, renewed, and told what it has lost. */
export class Session {
  readonly #options: SessionOptions;
  #workerId: WorkerId;
  #timer: NodeJS.Timeout | undefined;
  #renewing = false;
  #closed = false;

  private constructor(options: SessionOptions, workerId: WorkerId) {
    this.#options = options;
    this.#workerId = workerId;
  }

  static async open(options: SessionOptions): Promise<Session> {
    const session = new Session(options, await register(options));
    session.#timer = setInterval(() => void session.renew(), options.renewMs);
    session.#timer.unref();
    return session;
  }

  get workerId(): WorkerId {
    return this.#workerId;
  }

  /** One renewal now. Never rejects: a store that does not answer is not a reason to stop work that only it can take away. */
  async renew(): Promise<void> {
    if (this.#renewing || this.#closed) return;
    this.#renewing = true;
    const { workers, held, claimSeqReceived, loopLagMs, onLost, onRenewed, emit } = this.#options;
    try {
      const renewal = { workerId: this.#workerId, held: held(), claimSeqReceived: claimSeqReceived() };
      const lag = loopLagMs?.();
      const answer = await workers.renew({ ...renewal, ...(lag === undefined ? {} : { loopLagMs: lag }) });
      for (const { runId, why } of answer.lost) onLost(runId, why);
      if (answer.state === "dead" || answer.state === "stopped") await this.#openAgain(answer.state);
      else onRenewed?.(renewal);
    } catch (thrown) {
      // Pruned: it ended long ago, as far as the store is concerned. When registering fails too, the next renewal comes here again.
      if (isWakefulError(thrown) && thrown.code === "not_found") await this.#openAgain("unknown to the store").catch(() => undefined);
      emit("store.degraded", { code: isWakefulError(thrown) ? thrown.code : "renew_failed", message: messageOf(thrown) });
    } finally {
      this.#renewing = false;
    }
  }

  async drain(): Promise<void> {
    await this.#options.workers.drain(this.#workerId);
  }

  /** Says goodbye. What is still held stays for adoption. */
  async close(): Promise<void> {
    this.abandon();
    await this.#options.workers.leave(this.#workerId);
    this.#options.emit("worker.left", { workerId: this.#workerId });
  }

  /** Renews no more and says nothing: what is held may still be at work, and ends with this process. */
  abandon(): void {
    this.#closed = true;
    clearInterval(this.#timer);
  }

  async #openAgain(state: string): Promise<void> {
    const { emit, held, onLost, onNewSession } = this.#options;
    emit("worker.fenced", { workerId: this.#workerId, reason: `its session is ${state}` });
    for (const runId of held()) onLost(runId, `its session is ${state}`);
    // Told so by an answer that came after our own goodbye.
    if (this.#closed) return;
    this.#workerId = await register(this.#options);
    onNewSession(this.#workerId);
  }
}

async function register({ workers, name, kind, process, concurrency, queues, emit }: SessionOptions): Promise<WorkerId> {
  const workerId = await workers.register({ name, kind, process, concurrency, queues });
  emit("worker.registered", { workerId, kind, pid: process.pid });
  return workerId;
}
