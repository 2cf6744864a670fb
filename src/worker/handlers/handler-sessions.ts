import { messageOf } from "../../domain/errors.ts";
import type { RunId, WorkerId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { RaiseAlert } from "../../notify/raise-alert.ts";
import type { ProcessIdentity } from "../../processes/probe/identity.ts";
import { tooLate, within } from "../../runtime/time-limit.ts";
import type { Emit } from "../../telemetry/events.ts";
import { Session } from "../session.ts";
import type { WorkerBackend } from "../worker-backend.ts";
import { HandlerWorker } from "./handler-worker.ts";
import type { HandlerWorkerOptions } from "./handler-worker-options.ts";

export interface HandlerSessionsOptions {
  readonly backend: WorkerBackend;
  readonly worker: Omit<HandlerWorkerOptions, "backend" | "stuck">;
  readonly name: string;
  readonly process: ProcessIdentity;
  readonly renewMs: DurationMs;
  /** How late the event loop of the process was lately. */
  readonly loopLagMs?: (() => DurationMs | undefined) | undefined;
  /**
   * How long renewals may fail before handlers are asked to stop, because a judge elsewhere soon gives their jobs to others. Absent: nobody
   * else can, as with a store that this process alone owns.
   */
  readonly selfFenceAfterMs?: DurationMs | undefined;
  readonly alert: RaiseAlert;
  readonly emit: Emit;
}

interface OpenedSession {
  /** Undefined until it is registered. */
  session: Session | undefined;
  worker: HandlerWorker;
  renewedAtMono: number;
}

/**
 * The handler workers of one process, in sequence. A successor takes over claiming when a handler does not stop, when the session was
 * judged dead, or when the store was out of reach.
 */
export class HandlerSessions {
  readonly #options: HandlerSessionsOptions;
  readonly #opened = new Set<OpenedSession>();
  readonly #stuck = new Set<RunId>();
  #current: OpenedSession | undefined;
  #stopping = false;
  #toldAllStuck = false;
  #fencing: Promise<unknown> | undefined;
  #opening: Promise<void> | undefined;
  #watch: NodeJS.Timeout | undefined;

  constructor(options: HandlerSessionsOptions) {
    this.#options = options;
  }

  /** Registers the first session and begins to claim. */
  async start(): Promise<void> {
    await this.#open();
    const { selfFenceAfterMs, renewMs } = this.#options;
    if (selfFenceAfterMs === undefined) return;
    this.#watch = setInterval(() => this.#fenceIfCutOff(selfFenceAfterMs), renewMs).unref();
  }

  /** There may be jobs: claims in this turn, so that it shares the transaction of the caller's enqueue. */
  lookAgain(): void {
    this.#current?.worker.lookAgain();
  }

  lose(runId: RunId, why: string): void {
    for (const { worker } of this.#opened) worker.lose(runId, why);
  }

  /**
   * `drain`: waits for what is active. Else handlers are given `graceMs` to stop, and ends as much again to be written. Resolves to the runs
   * whose handlers are busy; their sessions stay open.
   */
  async stop(options: { readonly drain: boolean; readonly graceMs: DurationMs }): Promise<readonly RunId[]> {
    this.#stopping = true;
    clearInterval(this.#watch);
    await this.#endFencing(options.graceMs);
    // It ends itself once it is registered; a store that does not answer must not hold the process.
    if (this.#opening !== undefined) await within(this.#opening, options.graceMs, { holds: true });
    const busy: RunId[] = [];
    for (const { session, worker } of this.#opened) {
      await this.#tellFailure("drain_failed", session?.drain());
      if (options.drain) await worker.drain();
      const left = options.drain ? worker.held() : await worker.abort(options.graceMs, { unwrittenMs: options.graceMs });
      busy.push(...left);
      if (left.length === 0) await this.#tellFailure("leave_failed", session?.close());
      else session?.abandon();
    }
    this.#opened.clear();
    return busy;
  }

  /** A store that does not answer stops no stop: the session is judged like that of any process which ended. */
  async #tellFailure(code: string, step: Promise<void> | undefined): Promise<void> {
    try {
      await step;
    } catch (thrown) {
      this.#options.emit("store.degraded", { code, message: messageOf(thrown) });
    }
  }

  /** What was cut off waits for the store to take its ends, which a stop does not. */
  async #endFencing(graceMs: DurationMs): Promise<void> {
    if (this.#fencing === undefined || (await within(this.#fencing, 2 * graceMs, { holds: true })) !== tooLate) return;
    for (const { worker } of this.#opened) worker.giveUp();
    await this.#fencing;
  }

  async #open(): Promise<void> {
    const { worker, emit, backend, name, process, renewMs, loopLagMs } = this.#options;
    const concurrency = this.#slotsLeft;
    if (concurrency < 1) {
      await this.#tellAllStuck();
      return;
    }
    const opened: OpenedSession = { session: undefined, worker: this.#newWorker(), renewedAtMono: worker.monoNow() };
    const session = await Session.open({
      backend,
      newHelloId: worker.newId,
      hello: { name, kind: "handler", process, concurrency, queues: worker.queues.map((queue) => queue.name) },
      worker: {
        held: () => opened.worker.held(),
        get claimSeqReceived() {
          return opened.worker.claimSeqReceived;
        },
        lose: (runId, why) => opened.worker.lose(runId, why),
        changeSession: (workerId) => this.#changeSession(opened, workerId),
      },
      renewMs,
      loopLagMs,
      // A replaced or fenced session has a successor: two sessions at once would claim for one process.
      mayOpenAgain: () => opened === this.#current && this.#fencing === undefined,
      onRenewed: () => {
        opened.renewedAtMono = worker.monoNow();
      },
      emit,
    });
    if (this.#stopping) {
      await session.close();
      return;
    }
    opened.session = session;
    opened.renewedAtMono = worker.monoNow();
    this.#opened.add(opened);
    this.#current = opened;
    opened.worker.start(session.workerId);
    // The last of them may have been given up while this session was being opened.
    if (this.#slotsLeft < 1) await this.#tellAllStuck();
  }

  get #slotsLeft(): number {
    return this.#options.worker.limits.concurrency - this.#stuck.size;
  }

  /** Nothing is claimed until one of them returns. */
  async #tellAllStuck(): Promise<void> {
    if (this.#toldAllStuck) return;
    this.#toldAllStuck = true;
    const { worker, alert, name } = this.#options;
    const title = `All ${worker.limits.concurrency} handlers of ${name} ignore that they were asked to stop: restart the process`;
    await alert({ cause: `stuck:${name}`, title, details: { runIds: [...this.#stuck] } });
  }

  #newWorker(): HandlerWorker {
    const { worker, backend } = this.#options;
    return new HandlerWorker({
      ...worker,
      backend,
      stuck: {
        onStuck: (runId) => this.#replaceStuck(runId),
        onUnstuck: (runId) => this.#slotReturned(runId),
        slotsLost: () => this.#stuck.size,
      },
    });
  }

  #changeSession(opened: OpenedSession, workerId: WorkerId): void {
    opened.renewedAtMono = this.#options.worker.monoNow();
    opened.worker.retire("its session is over");
    opened.worker = this.#newWorker();
    if (!this.#stopping && opened === this.#current) opened.worker.start(workerId);
  }

  /** The worker with the stuck handler has retired. Its session goes on, because it holds the run until the handler ends. */
  #replaceStuck(runId: RunId): void {
    this.#stuck.add(runId);
    this.#replace();
  }

  /** The stuck handler has returned: the current session has one more slot, or another is opened. */
  #slotReturned(runId: RunId): void {
    if (!this.#stuck.delete(runId) || this.#stopping) return;
    this.#toldAllStuck = false;
    this.lookAgain();
    this.#replace();
  }

  /** Asks handlers to stop before a judge elsewhere may give their jobs to another. What they return in time still counts. */
  #fenceIfCutOff(limitMs: DurationMs): void {
    const current = this.#current;
    if (current?.session === undefined || this.#fencing !== undefined || this.#options.worker.monoNow() - current.renewedAtMono < limitMs)
      return;
    this.#options.emit("worker.fenced", { workerId: current.session.workerId, reason: `no renewal reached the store for ${limitMs} ms` });
    // All sessions: a replaced one may still have handlers at work, and is as silent as the current one.
    this.#fencing = Promise.all([...this.#opened].map(({ worker }) => worker.abort(limitMs))).then((busy) => {
      this.#fencing = undefined;
      for (const runId of busy.flat()) this.#stuck.add(runId);
      // It has stopped for good. Until another is registered there is nothing to fence.
      if (this.#current === current) this.#current = undefined;
      if (this.#stopping) return;
      this.#dismissIdle();
      this.#replace();
    });
  }

  /** Ends the sessions of stopped workers that hold nothing. If the store cannot be reached, they fall silent. */
  #dismissIdle(): void {
    for (const opened of this.#opened) {
      if (opened === this.#current || opened.worker.held().length > 0) continue;
      this.#opened.delete(opened);
      opened.session?.close().catch(() => undefined);
    }
  }

  /** Opens a session, unless there is one that claims or is about to: two would claim side by side. */
  #replace(): void {
    if (this.#stopping || this.#opening !== undefined || this.#current?.worker.takesJobs === true) return;
    this.#opening = this.#open()
      .catch((thrown: unknown) => {
        this.#options.emit("store.degraded", { code: "register_failed", message: messageOf(thrown) });
        setTimeout(() => this.#replace(), this.#options.renewMs).unref();
      })
      .finally(() => {
        this.#opening = undefined;
      });
  }
}
