import { messageOf } from "../../domain/errors.ts";
import type { RunId, WorkerId } from "../../domain/ids.ts";
import { asInstant, type DurationMs } from "../../domain/time.ts";
import { claimMax } from "../../store/jobs/claim-rules.ts";
import type { ClaimedRun, FencedAnswer, Settlement, StartRun } from "../../store/port/runs.ts";
import { Claimer } from "../buffers/claimer.ts";
import { SettleLane } from "../buffers/settlement-buffer.ts";
import { ActiveRun } from "./handler-context.ts";
import { endAfterRequest, endOfOutput, endOfThrown, isThenable } from "./handler-end.ts";
import type { HandlerQueue, HandlerWorkerOptions } from "./handler-worker-options.ts";
import { offerLateResult } from "./late-result.ts";
import { OutstandingLimit } from "./outstanding-limit.ts";
import type { EndedRun, HandlerEnd, SettleDecision } from "./run-end.ts";

/** Node's timers end here; longer timeouts are the judge's alone. */
const timerMsMax = 2 ** 31 - 1;

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
  readonly #limit: OutstandingLimit;
  readonly #lane: SettleLane;
  readonly #claims: Claimer;
  readonly #active = new Map<RunId, ActiveRun>();
  /** Asked to stop and did not: each keeps its slot until it returns or the process ends. */
  readonly #stuck = new Map<RunId, ActiveRun>();
  /** Ended, and their settlement is being worked out. */
  readonly #deciding = new Set<RunId>();
  #waiting: ClaimedRun[] = [];
  #waitingHead = 0;
  #starts: StartRun[] = [];
  /** Claimed and not yet handed to a settle. */
  #outstanding = 0;
  #turnPlanned = false;
  #flushPlanned = false;
  #mode: "running" | "draining" | "stopped" = "stopped";
  #workerId: WorkerId | undefined;
  #poll: NodeJS.Timeout | undefined;
  #stopListening: (() => void) | undefined;
  #idleWaiters: (() => void)[] = [];

  constructor(options: HandlerWorkerOptions) {
    this.#options = options;
    this.#queues = new Map(options.queues.map((queue) => [queue.name, queue]));
    this.#limit = new OutstandingLimit({ concurrency: options.concurrency, max: options.outstandingMax, monoNow: options.monoNow() });
    this.#claims = new Claimer({
      claim: (request) => options.backend.runs.claim(request),
      queues: options.queues.map(({ name, limits }) => ({ name, limits })),
      newClaimId: options.newClaimId,
      emit: options.emit,
      onClaimed: (runs) => this.#take(runs),
      onFailed: () => this.#planTurn(),
    });
    this.#lane = new SettleLane({
      settle: (batch) => options.backend.runs.settle(batch),
      emit: options.emit,
      onSettled: (settlements) => {
        this.#limit.ended(settlements.length, options.monoNow());
        this.#planTurn();
        options.onSettled?.(settlements);
      },
      ...(options.retryMs === undefined ? {} : { retryMs: options.retryMs }),
    });
  }

  start(workerId: WorkerId): void {
    if (this.#workerId !== undefined) throw new Error("A worker starts once; a further session needs a worker of its own.");
    this.#workerId = workerId;
    this.#mode = "running";
    this.#stopListening = this.#options.backend.onJobs(() => this.lookAgain());
    this.#poll = setInterval(() => this.lookAgain(), this.#options.pollMs);
    this.#poll.unref();
    this.#planTurn();
  }

  get claimSeqReceived(): number {
    return this.#claims.seqReceived;
  }

  /** Claimed and not yet durably settled. */
  get outstanding(): number {
    return this.#outstanding + this.#lane.failing;
  }

  /** The runs that this worker holds, for its renewal: waiting, active, and ended until the store has taken their end. */
  held(): readonly RunId[] {
    const held = [...this.#active.keys(), ...this.#stuck.keys(), ...this.#deciding, ...this.#lane.unsettled()];
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
      if (run.lost) return;
      run.lost = true;
      this.#askToStop(run, new Error(`Run ${runId} was lost: ${why}.`));
      return;
    }
    const at = this.#waiting.findIndex((claimed, index) => index >= this.#waitingHead && claimed.runId === runId);
    if (at !== -1) {
      this.#waiting.splice(at, 1);
      this.#outstanding--;
      this.#planTurn();
    }
  }

  /** Ends claiming and hands back what has not started. Active handlers go on; await {@link drain} for their end. */
  retire(reason: string): void {
    if (this.#mode !== "running") return;
    this.#mode = "draining";
    clearInterval(this.#poll);
    this.#stopListening?.();
    this.#stopListening = undefined;
    this.#releaseWaiting(reason);
  }

  /** Retires. Resolves when the active runs have ended and everything is settled; those that ignore a request to stop are not waited for. */
  async drain(): Promise<void> {
    this.retire("the worker is draining");
    await new Promise<void>((resolve) => {
      this.#idleWaiters.push(resolve);
      this.#planTurn();
    });
    this.#mode = "stopped";
  }

  /**
   * Like {@link drain}, but asks active handlers to abort; what they throw in answer spends nothing.
   * Resolves to the runs whose handlers are still busy after `graceMs`. They are not settled: their jobs may be handed on only when this
   * process is gone, which whoever sees that must write.
   */
  async abort(graceMs: DurationMs): Promise<readonly RunId[]> {
    const drained = this.drain();
    for (const run of this.#active.values()) {
      run.stopAs ??= { kind: "released", reason: "the worker shut down" };
      run.abort(new Error("The worker is shutting down."));
    }
    let timer: NodeJS.Timeout | undefined;
    const grace = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, graceMs);
    });
    await Promise.race([drained, grace]);
    clearTimeout(timer);
    for (const run of this.#active.values()) this.#leak(run);
    this.#planTurn();
    await drained;
    return [...this.#stuck.keys()];
  }

  /** There may be jobs: claims in this turn of the event loop, so that an enqueue of the same turn shares its transaction. */
  lookAgain(): void {
    this.#claims.lookAgain();
    this.#planTurn();
  }

  #releaseWaiting(reason: string): void {
    const waiting = this.#waiting.slice(this.#waitingHead);
    this.#waiting = [];
    this.#waitingHead = 0;
    for (const { runId, ownerEpoch, jobId, queue } of waiting) {
      const end = {
        outcome: "released",
        reason: "released",
        message: reason,
        retry: { jitter: 0 },
        actor: "worker",
      } as const;
      this.#pushSettlement({ runId, ownerEpoch, jobId, ...end }, queue);
    }
  }

  #isIdle(): boolean {
    return this.#active.size === 0 && this.#deciding.size === 0 && this.#outstanding === 0 && !this.#claims.busy && this.#lane.idle;
  }

  #planTurn(): void {
    if (this.#turnPlanned) return;
    this.#turnPlanned = true;
    queueMicrotask(this.#turn);
  }

  readonly #turn = (): void => {
    this.#turnPlanned = false;
    this.#beginWaiting();
    // While handlers still end within this microtask chain, one settle and one claim for all of them is enough: they come with the next
    // macrotask. A claim made before would split the work for good into two halves that take turns, each with a commit of its own.
    if (this.#active.size > 0) {
      if (!this.#flushPlanned) {
        this.#flushPlanned = true;
        setImmediate(this.#flush);
      }
      return;
    }
    this.#flush();
  };

  /** Hands the ended runs to the store together with the next claim, so that both share one commit. */
  readonly #flush = (): void => {
    this.#flushPlanned = false;
    if (this.#starts.length > 0) this.#writeStarts();
    this.#lane.flush();
    this.#claim();
    if (this.#idleWaiters.length > 0 && this.#isIdle()) {
      const waiters = this.#idleWaiters;
      this.#idleWaiters = [];
      for (const resolve of waiters) resolve();
    }
  };

  #beginWaiting(): void {
    const free = this.#options.concurrency - this.#slotsLost();
    while (this.#mode === "running" && this.#active.size < free && this.#waitingHead < this.#waiting.length) {
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
    const { limits } = queue;
    if (!claimed.started) {
      run.start = {
        runId: claimed.runId,
        ownerEpoch: claimed.ownerEpoch,
        startedAt: asInstant(run.startedAt),
        limits,
        checkAt: asInstant(this.#options.firstCheckAt(run.startedAt, limits)),
      };
      this.#starts.push(run.start);
    }
    if (limits.timeoutMs !== undefined && limits.timeoutMs <= timerMsMax) {
      run.timer = setTimeout(() => this.#timeOut(run), limits.timeoutMs).unref();
    }
    try {
      const result = queue.handler(run as never, run);
      if (isThenable(result)) {
        Promise.resolve(result).then(
          (output) => this.#end(run, endOfOutput(output)),
          (thrown: unknown) => this.#end(run, endOfThrown(thrown)),
        );
      } else {
        this.#end(run, endOfOutput(result));
      }
    } catch (thrown) {
      this.#end(run, endOfThrown(thrown));
    }
  }

  #timeOut(run: ActiveRun): void {
    const { startedAt, runId } = run;
    run.stopAs = { kind: "timed_out", afterMs: Math.max(0, this.#options.backend.now() - startedAt) };
    this.#askToStop(run, new Error(`Run ${runId} ran into its timeout.`));
  }

  #askToStop(run: ActiveRun, reason: Error): void {
    run.abort(reason);
    clearTimeout(run.timer);
    run.timer = setTimeout(() => this.#giveUp(run), this.#options.stopGraceMs()).unref();
  }

  /** Its handler does not stop. What is ours to write is written now, and the job waits until this process is proved gone. */
  #giveUp(run: ActiveRun): void {
    if (!this.#active.has(run.runId)) return;
    const { stopAs, lost } = run;
    if (!lost && stopAs !== undefined) {
      this.#active.delete(run.runId);
      this.#stuck.set(run.runId, run);
      run.lost = true;
      this.#conclude(run, stopAs, true);
    } else {
      this.#leak(run);
    }
    this.retire("the worker has a handler that does not stop");
    this.#options.onStuck(run.runId);
    this.#planTurn();
  }

  #leak(run: ActiveRun): void {
    clearTimeout(run.timer);
    this.#active.delete(run.runId);
    this.#stuck.set(run.runId, run);
    this.#outstanding--;
  }

  #slotsLost(): number {
    return this.#options.slotsLost?.() ?? this.#stuck.size;
  }

  #end(run: ActiveRun, end: HandlerEnd): void {
    if (!this.#active.delete(run.runId)) {
      // Given up before: its slot is free again.
      this.#stuck.delete(run.runId);
      this.#offerLate(run, end);
      this.#options.onUnstuck?.(run.runId);
      return;
    }
    if (run.timer !== undefined) clearTimeout(run.timer);
    if (run.lost) {
      this.#outstanding--;
      this.#offerLate(run, end);
      this.#planTurn();
      return;
    }
    this.#conclude(run, run.stopAs === undefined ? end : endAfterRequest(run.stopAs, end), false);
  }

  #conclude(run: ActiveRun, end: HandlerEnd, stillRunning: boolean): void {
    const { start } = run;
    // Not sent yet: it is folded into its settlement.
    const unsent = start === undefined ? -1 : this.#starts.indexOf(start);
    if (unsent !== -1) this.#starts.splice(unsent, 1);
    this.#decide(endedRun(run, end, stillRunning), 0);
  }

  /** As far as this worker knows, the store has ended the run or given it to another. It is the fence that knows. */
  #offerLate(run: ActiveRun, end: HandlerEnd): void {
    const { backend, decide, emit } = this.#options;
    offerLateResult(endedRun(run, end, false), { settle: (settlements) => backend.runs.settle(settlements), decide, emit });
  }

  #decide(ended: EndedRun, tries: number): void {
    let decision: ReturnType<SettleDecision>;
    try {
      decision = this.#options.decide(ended);
    } catch (thrown) {
      this.#decideLater(ended, tries, thrown);
      return;
    }
    if (!(decision instanceof Promise)) {
      this.#pushSettlement(decision, ended.queue);
      return;
    }
    this.#deciding.add(ended.runId);
    decision.then(
      (settlement) => {
        this.#deciding.delete(ended.runId);
        if (settlement !== undefined) {
          this.#pushSettlement(settlement, ended.queue);
          return;
        }
        this.#outstanding--;
        this.#planTurn();
      },
      (thrown: unknown) => this.#decideLater(ended, tries, thrown),
    );
  }

  /** The end of a run is never forgotten: while this session lives nobody else would write it. */
  #decideLater(ended: EndedRun, tries: number, thrown: unknown): void {
    this.#deciding.add(ended.runId);
    this.#options.emit("store.degraded", { code: "settle_failed", message: `run ${ended.runId}: ${messageOf(thrown)}` });
    const delayMs = Math.min(10_000, (this.#options.retryMs ?? 100) * 2 ** Math.min(20, tries));
    setTimeout(() => this.#decide(ended, tries + 1), delayMs).unref();
  }

  #pushSettlement(settlement: Settlement, queue: string): void {
    this.#outstanding--;
    this.#deciding.delete(settlement.runId);
    this.#lane.push(settlement, queue);
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
        // Not waited for: the settlement of each brings its start along.
        this.#options.emit("store.degraded", { code: "start_failed", message: messageOf(thrown) });
      },
    );
  }

  #claim(): void {
    if (this.#mode !== "running" || !this.#claims.ready || this.#workerId === undefined) return;
    const limit = this.#limit.value;
    const free = Math.min(claimMax, limit - this.outstanding);
    const nothingWaits = this.#waitingHead === this.#waiting.length;
    if (free <= 0 || (!nothingWaits && free < limit / 4)) return;
    const startNow = nothingWaits ? Math.max(0, this.#options.concurrency - this.#active.size - this.#slotsLost()) : 0;
    this.#claims.claim(this.#workerId, { max: free, startNow });
  }

  #take(runs: readonly ClaimedRun[]): void {
    this.#outstanding += runs.length;
    for (const run of runs) this.#waiting.push(run);
    if (this.#mode !== "running") this.#releaseWaiting("the worker is draining");
    this.#planTurn();
  }
}

const endedRun = (run: ActiveRun, end: HandlerEnd, stillRunning: boolean): EndedRun => ({
  runId: run.claimed.runId,
  ownerEpoch: run.claimed.ownerEpoch,
  jobId: run.claimed.jobId,
  queue: run.claimed.queue,
  startedAt: asInstant(run.startedAt),
  start: run.start,
  stillRunning,
  end,
});

const answerText = (answer: FencedAnswer): string => (answer.kind === "lost" ? answer.why : "it no longer exists");
