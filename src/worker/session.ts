import { isWakefulError, messageOf } from "../domain/errors.ts";
import type { RunId, WorkerId } from "../domain/ids.ts";
import { type DurationMs, seconds } from "../domain/time.ts";
import { isSessionOver } from "../liveness/death-proof.ts";
import { tooLate, within } from "../runtime/time-limit.ts";
import type { Emit } from "../telemetry/events.ts";
import type { Hello, RenewalAnswer, WorkerBackend } from "./worker-backend.ts";

export interface SessionOptions {
  readonly backend: Pick<WorkerBackend, "hello" | "renew" | "drain" | "leave">;
  /** Unique in the store. */
  readonly newHelloId: () => string;
  readonly hello: Omit<Hello, "helloId">;
  readonly worker: SessionWorker;
  readonly renewMs: DurationMs;
  /** How long one renewal may take before it counts as failed. Default 5 s. */
  readonly renewTimeoutMs?: DurationMs | undefined;
  /** How late the event loop of the process was lately; undefined: not measured since the last call. */
  readonly loopLagMs?: (() => DurationMs | undefined) | undefined;
  /** Whether another session may replace one that is over. Absent: always. */
  readonly mayOpenAgain?: (() => boolean) | undefined;
  readonly onRenewed?: (() => void) | undefined;
  readonly emit: Emit;
}

/** Whose presence a session is. */
export interface SessionWorker {
  held(): readonly RunId[];
  readonly claimSeqReceived: number;
  /** A held run is not ours any more. */
  lose(runId: RunId, why: string): void;
  /** The session was declared dead while its process lives: everything it held is lost, and a new session replaces it. */
  changeSession(workerId: WorkerId): void;
}

const defaultRenewTimeoutMs: DurationMs = seconds(5);

/** The presence of one worker in this process: registers, renews, and reports what was lost. */
export class Session {
  readonly #options: SessionOptions;
  #workerId: WorkerId;
  #timer: NodeJS.Timeout | undefined;
  #renewing = false;
  #reopening = false;
  #closed = false;
  /** Of a session whose opening was not answered: it may have been opened. */
  #helloId: string | undefined;

  private constructor(options: SessionOptions, workerId: WorkerId) {
    this.#options = options;
    this.#workerId = workerId;
  }

  static async open(options: SessionOptions): Promise<Session> {
    const session = new Session(options, await sayHello(options, options.newHelloId()));
    session.#timer = setInterval(() => void session.renew(), options.renewMs);
    session.#timer.unref();
    return session;
  }

  get workerId(): WorkerId {
    return this.#workerId;
  }

  /** Renews now. Never rejects: only the store can take work away, and its silence does not. */
  async renew(): Promise<void> {
    if (this.#renewing || this.#closed) return;
    this.#renewing = true;
    const { backend, worker, loopLagMs, onRenewed, renewTimeoutMs = defaultRenewTimeoutMs, emit } = this.#options;
    try {
      const workerId = this.#workerId;
      const { claimSeqReceived } = worker;
      const answering = backend.renew({ workerId, held: worker.held(), claimSeqReceived, loopLagMs: loopLagMs?.() });
      const answer = await within(answering, renewTimeoutMs);
      if (answer === tooLate) {
        emit("store.degraded", { code: "renew_timeout", message: `no answer to a renewal within ${renewTimeoutMs} ms` });
        // What a late answer says of our runs is still true, but it does not count as heard in time.
        answering.then((late) => this.#take(workerId, late)).catch(() => undefined);
        return;
      }
      if ((await this.#take(workerId, answer)) === "live") onRenewed?.();
    } catch (thrown) {
      // Pruned: to the store it ended long ago. If registering fails too, the next renewal comes here again.
      if (isWakefulError(thrown) && thrown.code === "not_found") await this.#openAgain("unknown to the store").catch(() => undefined);
      emit("store.degraded", { code: isWakefulError(thrown) ? thrown.code : "renew_failed", message: messageOf(thrown) });
    } finally {
      this.#renewing = false;
    }
  }

  /** `over`: the store has ended the session. An answer to an earlier session's renewal says nothing of this one. */
  async #take(workerId: WorkerId, answer: RenewalAnswer): Promise<"live" | "over"> {
    if (workerId !== this.#workerId) return "over";
    for (const { runId, why } of answer.lost) this.#options.worker.lose(runId, why);
    if (!isSessionOver(answer.state)) return "live";
    await this.#openAgain(answer.state);
    return "over";
  }

  async drain(): Promise<void> {
    await this.#options.backend.drain(this.#workerId);
  }

  /** Ends the session. What is still held stays for adoption. */
  async close(): Promise<void> {
    this.abandon();
    await this.#options.backend.leave(this.#workerId);
  }

  /** Stops renewing without a word: what is held may still be at work, and ends with this process. */
  abandon(): void {
    this.#closed = true;
    clearInterval(this.#timer);
  }

  async #openAgain(state: string): Promise<void> {
    // Two renewals may be answered at once, where the first was late.
    if (this.#reopening) return;
    const { emit, worker, mayOpenAgain } = this.#options;
    emit("worker.fenced", { workerId: this.#workerId, reason: `its session is ${state}` });
    for (const runId of worker.held()) worker.lose(runId, `its session is ${state}`);
    // The answer came after our own goodbye.
    if (this.#closed) return;
    if (mayOpenAgain?.() === false) {
      this.abandon();
      return;
    }
    this.#reopening = true;
    try {
      this.#helloId ??= this.#options.newHelloId();
      this.#workerId = await sayHello(this.#options, this.#helloId);
      this.#helloId = undefined;
      // Closed while it was being opened: nobody would renew it.
      if (this.#closed) await this.#options.backend.leave(this.#workerId);
      else worker.changeSession(this.#workerId);
    } finally {
      this.#reopening = false;
    }
  }
}

const sayHello = async ({ backend, hello }: SessionOptions, helloId: string): Promise<WorkerId> =>
  await backend.hello({ helloId, ...hello });
