import { messageOf } from "../domain/errors.ts";
import type { RunId, WorkerId } from "../domain/ids.ts";
import { asInstant, type DurationMs } from "../domain/time.ts";
import type { ClaimedRun, FencedAnswer, RunLimits, Settlement, StartRun } from "../store/port/runs.ts";
import type { Emit } from "../telemetry/events.ts";
import type { WorkerBackend } from "./backend.ts";
import { ActiveRun, type Handler, isPermanent, type RunReports } from "./handler-context.ts";
import { OutstandingLimit } from "./intake-rate.ts";
import type { EndedRun, HandlerEnd, SettleDecision } from "./run-end.ts";

export interface HandlerQueue {
  readonly name: string;
  readonly handler: Handler;
  readonly limits: RunLimits;
}

export interface HandlerWorkerOptions {
  readonly backend: WorkerBackend;
  readonly queues: readonly HandlerQueue[];
  /** Handlers at work at once. At least 1. */
  readonly concurrency: number;
  /** Most runs claimed and not yet settled; what a crash may repeat. At least `concurrency`. */
  readonly outstandingMax: number;
  /** How often to look for jobs without a hint; at least 1 s. */
  readonly pollMs: DurationMs;
  readonly decide: SettleDecision;
  readonly reports: RunReports;
  readonly emit: Emit;
  readonly monoNow: () => number;
  /** Unique in the store. */
  readonly newClaimId: () => string;
  readonly firstCheckAt: (startedAt: number, limits: RunLimits) => number;
}

/**
 * Takes handler jobs and runs them.
 *
 * One turn settles what has ended and claims what fits, in one group commit. A run is `waiting` (reserved, nothing spent),
 * then active, then ended, until its settlement is durable; the three together are bounded by `outstandingMax`.
 *
 * Modes: `running` claims; `draining` ends what is active and hands the waiting back; `stopped` holds nothing.
 */
export class HandlerWorker {
  readonly #options: HandlerWorkerOptions;
  readonly #queues: ReadonlyMap<string, HandlerQueue>;
  readonly #claimable: readonly { readonly name: string; readonly limits: RunLimits }[];
  readonly #limit: OutstandingLimit;
  readonly #active = new Map<RunId, ActiveRun>();
  #waiting: ClaimedRun[] = [];
  #waitingHead = 0;
  #ended: Settlement[] = [];
  #starts: StartRun[] = [];
  /** Claimed and not yet handed to a settle. */
  #outstanding = 0;
  #claiming = false;
  #claimSeq = 0;
  #claimSeqReceived = 0;
  /** The last claim found less than it asked for: wait for a hint or the poll. */
  #dry = false;
  #turnPlanned = false;
  #mode: "running" | "draining" | "stopped" = "stopped";
  #workerId: WorkerId | undefined;
  #poll: NodeJS.Timeout | undefined;
  #stopListening: (() => void) | undefined;
  #idleWaiters: (() => void)[] = [];
  #settling = 0;

  constructor(options: HandlerWorkerOptions) {
    this.#options = options;
    this.#queues = new Map(options.queues.map((queue) => [queue.name, queue]));
    this.#claimable = options.queues.map(({ name, limits }) => ({ name, limits }));
    this.#limit = new OutstandingLimit({ concurrency: options.concurrency, max: options.outstandingMax, monoNow: options.monoNow() });
  }

  start(workerId: WorkerId): void {
    this.#workerId = workerId;
    this.#mode = "running";
    this.#stopListening = this.#options.backend.onJobs(() => {
      this.#dry = false;
      this.#planTurn();
    });
    this.#poll = setInterval(() => {
      this.#dry = false;
      this.#planTurn();
    }, this.#options.pollMs);
    this.#poll.unref();
    this.#planTurn();
  }

  get claimSeqReceived(): number {
    return this.#claimSeqReceived;
  }

  /** The runs that this worker holds, for its renewal: active and waiting. */
  held(): readonly RunId[] {
    const held = [...this.#active.keys()];
    for (let at = this.#waitingHead; at < this.#waiting.length; at++) {
      const claimed = this.#waiting[at];
      if (claimed !== undefined) held.push(claimed.runId);
    }
    return held;
  }

  /** The store says that a run is not ours any more: its handler is asked to stop and its end will be dropped. */
  lose(runId: RunId, why: string): void {
    const run = this.#active.get(runId);
    if (run !== undefined) {
      run.lost = true;
      run.abort(new Error(`Run ${runId} was lost: ${why}.`));
      return;
    }
    const at = this.#waiting.findIndex((claimed, index) => index >= this.#waitingHead && claimed.runId === runId);
    if (at !== -1) {
      this.#waiting.splice(at, 1);
      this.#outstanding--;
    }
  }

  active(runId: RunId): ActiveRun | undefined {
    return this.#active.get(runId);
  }

  activeRuns(): IterableIterator<ActiveRun> {
    return this.#active.values();
  }

  /** Ends claiming and hands back what has not started. Resolves when the active runs have ended and everything is settled. */
  async drain(): Promise<void> {
    if (this.#mode === "running") {
      this.#mode = "draining";
      this.#stopClaiming();
      this.#releaseWaiting("the worker is draining");
    }
    await this.#idle();
    this.#mode = "stopped";
  }

  /**
   * Like {@link drain}, but asks active handlers to abort; those that have not ended after `graceMs` are handed back all the same.
   * Resolves to the runs whose handlers are still busy: their process must not live on.
   */
  async abort(graceMs: DurationMs): Promise<readonly RunId[]> {
    const drained = this.drain();
    for (const run of this.#active.values()) run.abort(new Error("The worker is shutting down."));
    let timer: NodeJS.Timeout | undefined;
    const grace = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, graceMs);
    });
    await Promise.race([drained, grace]);
    clearTimeout(timer);
    const busy = [...this.#active.values()];
    for (const run of busy) {
      this.#active.delete(run.runId);
      this.#conclude(run, { kind: "released", reason: "the worker shut down before the handler ended" });
    }
    await drained;
    return busy.map((run) => run.runId);
  }

  #stopClaiming(): void {
    clearInterval(this.#poll);
    this.#stopListening?.();
    this.#stopListening = undefined;
  }

  #releaseWaiting(reason: string): void {
    for (let at = this.#waitingHead; at < this.#waiting.length; at++) {
      const claimed = this.#waiting[at];
      if (claimed === undefined) continue;
      this.#outstanding--;
      this.#pushSettlement({
        runId: claimed.runId,
        ownerEpoch: claimed.ownerEpoch,
        jobId: claimed.jobId,
        outcome: "released",
        reason: "released",
        message: reason,
        spend: "nothing",
        then: { to: "queued" },
        actor: "worker",
      });
    }
    this.#waiting = [];
    this.#waitingHead = 0;
  }

  async #idle(): Promise<void> {
    if (this.#active.size === 0 && this.#settling === 0 && this.#ended.length === 0 && !this.#claiming && this.#outstanding === 0) return;
    await new Promise<void>((resolve) => {
      this.#idleWaiters.push(resolve);
      this.#planTurn();
    });
    await this.#idle();
  }

  #planTurn(): void {
    if (this.#turnPlanned) return;
    this.#turnPlanned = true;
    queueMicrotask(this.#turn);
  }

  readonly #turn = (): void => {
    this.#turnPlanned = false;
    this.#beginWaiting();
    // While handlers still end within this microtask chain, one flush for all of them is enough: it comes with the next macrotask.
    if (this.#active.size > 0 && this.#ended.length > 0 && this.#ended.length < this.#options.outstandingMax / 2) {
      if (!this.#flushPlanned) {
        this.#flushPlanned = true;
        setImmediate(this.#flush);
      }
      return;
    }
    this.#flush();
  };

  #flushPlanned = false;

  /** Hands the ended runs to the store together with the next claim, so that both share one commit. */
  readonly #flush = (): void => {
    this.#flushPlanned = false;
    if (this.#starts.length > 0) this.#writeStarts();
    if (this.#ended.length > 0) {
      const batch = this.#ended;
      this.#ended = [];
      this.#settling++;
      void this.#settle(batch, 0);
    }
    this.#claim();
    if (this.#idleWaiters.length > 0) {
      const waiters = this.#idleWaiters;
      this.#idleWaiters = [];
      for (const resolve of waiters) resolve();
    }
  };

  #beginWaiting(): void {
    while (this.#mode === "running" && this.#active.size < this.#options.concurrency && this.#waitingHead < this.#waiting.length) {
      const claimed = this.#waiting[this.#waitingHead++];
      if (claimed !== undefined) this.#begin(claimed);
    }
    if (this.#waitingHead === this.#waiting.length && this.#waitingHead > 0) {
      this.#waiting = [];
      this.#waitingHead = 0;
    }
  }

  #begin(claimed: ClaimedRun): void {
    const queue = this.#queues.get(claimed.queue);
    const run = new ActiveRun(claimed, this.#options.backend.now(), this.#options.reports);
    this.#active.set(claimed.runId, run);
    if (queue === undefined) {
      this.#end(run, { kind: "threw", message: `This worker has no handler for ${claimed.queue}.`, permanent: false });
      return;
    }
    if (!claimed.started) {
      this.#starts.push({
        runId: claimed.runId,
        ownerEpoch: claimed.ownerEpoch,
        startedAt: asInstant(run.startedAt),
        limits: queue.limits,
        checkAt: asInstant(this.#options.firstCheckAt(run.startedAt, queue.limits)),
      });
    }
    try {
      const result = queue.handler(run as never, run);
      if (result instanceof Promise) {
        result.then(
          (output) => this.#returned(run, output),
          (thrown: unknown) => this.#end(run, { kind: "threw", message: messageOf(thrown), permanent: isPermanent(thrown) }),
        );
      } else {
        this.#returned(run, result);
      }
    } catch (thrown) {
      this.#end(run, { kind: "threw", message: messageOf(thrown), permanent: isPermanent(thrown) });
    }
  }

  #returned(run: ActiveRun, output: unknown): void {
    if (output === undefined || output === null) {
      this.#end(run, { kind: "returned", output: undefined });
      return;
    }
    let text: string;
    try {
      text = JSON.stringify(output);
    } catch (thrown) {
      this.#end(run, { kind: "threw", message: `bad_output: the output is not JSON: ${messageOf(thrown)}`, permanent: false });
      return;
    }
    if (text !== undefined && text.length > maxOutputChars) {
      this.#end(run, {
        kind: "threw",
        message: `bad_output: the output has ${text.length} characters; at most ${maxOutputChars} are kept`,
        permanent: false,
      });
      return;
    }
    this.#end(run, { kind: "returned", output: text });
  }

  #end(run: ActiveRun, end: HandlerEnd): void {
    // Handed back already by an abort that did not wait for it.
    if (!this.#active.delete(run.runId)) return;
    if (run.lost) {
      // The store has ended the run or given it to another: nothing of it may be written.
      this.#outstanding--;
      this.#planTurn();
      return;
    }
    this.#conclude(run, end);
  }

  #conclude(run: ActiveRun, end: HandlerEnd): void {
    const { claimed } = run;
    this.#outstanding--;
    const startAt = this.#starts.findIndex((start) => start.runId === claimed.runId);
    // Its start was never written: folded into its settlement.
    if (startAt !== -1) this.#starts.splice(startAt, 1);
    const ended: EndedRun = {
      runId: claimed.runId,
      ownerEpoch: claimed.ownerEpoch,
      jobId: claimed.jobId,
      queue: claimed.queue,
      startedAt: asInstant(run.startedAt),
      startUnwritten: startAt !== -1,
      end,
    };
    const decision = this.#options.decide(ended);
    if (decision instanceof Promise) {
      this.#settling++;
      decision.then(
        (settlement) => {
          this.#settling--;
          if (settlement !== undefined) this.#pushSettlement(settlement);
          this.#planTurn();
        },
        (thrown: unknown) => {
          this.#settling--;
          // The run stays in the store as it was; the job-reaper judges it like that of a dead worker.
          this.#options.emit("defect.found", { where: "handler-worker.decide", message: messageOf(thrown) });
          this.#planTurn();
        },
      );
    } else {
      this.#pushSettlement(decision);
    }
  }

  #pushSettlement(settlement: Settlement): void {
    this.#ended.push(settlement);
    this.#planTurn();
  }

  #writeStarts(): void {
    const starts = this.#starts;
    this.#starts = [];
    this.#options.backend.runs.start(starts).then(
      (answers) => {
        for (const [at, answer] of answers.entries()) {
          const start = starts[at];
          if (start !== undefined && answer.kind !== "ok" && answer.kind !== "already") this.lose(start.runId, answerText(answer));
        }
      },
      (thrown: unknown) => {
        // Not waited for: its settle folds the start in, and a run that never settles is the job-reaper's.
        this.#options.emit("store.degraded", { code: "start_failed", message: messageOf(thrown) });
      },
    );
  }

  async #settle(batch: readonly Settlement[], tries: number): Promise<void> {
    try {
      const answers = await this.#options.backend.runs.settle(batch);
      let successes = 0;
      for (let at = 0; at < answers.length; at++) {
        const answer = answers[at];
        const settlement = batch[at];
        if (answer === undefined || settlement === undefined) continue;
        if (answer.kind === "lost") {
          this.#options.emit("run.late_result", {
            runId: settlement.runId,
            jobId: settlement.jobId,
            queue: "",
            tried: settlement.outcome,
            why: answer.why,
          });
        } else if (settlement.outcome === "succeeded") {
          successes++;
        }
      }
      if (successes > 0) this.#options.emit("runs.settled", { count: successes });
      this.#limit.ended(batch.length, this.#options.monoNow());
      this.#settling--;
    } catch (thrown) {
      // Results are kept until the store takes them; settling is idempotent, so an unclear failure may be repeated.
      this.#options.emit("store.degraded", { code: "settle_failed", message: messageOf(thrown) });
      setTimeout(() => void this.#settle(batch, tries + 1), Math.min(10_000, 100 * 2 ** tries)).unref();
      return;
    }
    this.#planTurn();
  }

  #claim(): void {
    if (this.#mode !== "running" || this.#claiming || this.#dry || this.#workerId === undefined) return;
    const limit = this.#limit.value;
    const free = limit - this.#outstanding;
    const nothingWaits = this.#waitingHead === this.#waiting.length;
    if (free <= 0 || (!nothingWaits && free < limit / 4)) return;
    this.#claiming = true;
    this.#claimSeq++;
    const request = {
      claimId: this.#options.newClaimId(),
      workerId: this.#workerId,
      claimSeq: this.#claimSeq,
      queues: this.#claimable,
      max: free,
      startNow: Math.max(0, this.#options.concurrency - this.#active.size),
    };
    this.#options.backend.runs.claim(request).then(
      (runs) => {
        this.#claiming = false;
        this.#claimSeqReceived = request.claimSeq;
        this.#dry = runs.length < request.max;
        this.#outstanding += runs.length;
        if (this.#mode === "running") {
          for (const run of runs) this.#waiting.push(run);
        } else {
          this.#waiting = [...runs];
          this.#waitingHead = 0;
          this.#releaseWaiting("the worker is draining");
        }
        this.#planTurn();
      },
      (thrown: unknown) => {
        this.#claiming = false;
        // The poll asks again; asking at once would only press on a store in trouble.
        this.#dry = true;
        this.#options.emit("store.degraded", { code: "claim_failed", message: messageOf(thrown) });
        this.#planTurn();
      },
    );
  }
}

/** Most characters of a handler's output as JSON: 1 MiB. */
const maxOutputChars = 1_048_576;

function answerText(answer: FencedAnswer): string {
  return answer.kind === "lost" ? answer.why : "it no longer exists";
}
