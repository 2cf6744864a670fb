import { messageOf } from "../../domain/errors.ts";
import type { RunId, WorkerId } from "../../domain/ids.ts";
import { asInstant, type DurationMs, minutes } from "../../domain/time.ts";
import { tooLate, within } from "../../runtime/time-limit.ts";
import { partOf } from "../../store/port/turns.ts";
import { Claimer, type ClaimRoom } from "../buffers/claimer.ts";
import { EndBuffer } from "../buffers/end-buffer.ts";
import type { ClaimedWork, EndAnswer, EndReport, RunStart } from "../worker-backend.ts";
import { ExitingRuns } from "./exiting-runs.ts";
import { ActiveRun, type HandlerEnd } from "./handler-context.ts";
import { endAfterRequest, endOfOutput, endOfThrown, isThenable, reportOf, unwrittenText } from "./handler-end.ts";
import type { HandlerQueue, HandlerWorkerOptions } from "./handler-worker-options.ts";
import { offerLateResult } from "./late-result.ts";
import { OutstandingLimit } from "./outstanding-limit.ts";
import { WaitingRuns } from "./waiting-runs.ts";

/** Node's timers end here. Longer timeouts are left to the judge. */
const timerMsMax = 2 ** 31 - 1;
/** How long {@link HandlerWorker.drain} waits for ends that the store does not take, once nothing else is left. */
const drainUnwrittenMs: DurationMs = minutes(1);

/**
 * Takes handler jobs and runs them. `running` claims; `draining` ends what is active and hands the waiting back; `stopped` holds nothing.
 * `outstandingMax` bounds what waits, is active or has an end on its way, and again the ends set aside.
 */
export class HandlerWorker {
  readonly #options: HandlerWorkerOptions;
  readonly #queues: ReadonlyMap<string, HandlerQueue>;
  readonly #limit: OutstandingLimit;
  readonly #ends: EndBuffer;
  readonly #claims: Claimer;
  readonly #active = new Map<RunId, ActiveRun>();
  /** Asked to stop without effect: each keeps its slot until it returns or the process ends. */
  readonly #stuck = new Map<RunId, ActiveRun>();
  readonly #exiting: ExitingRuns;
  readonly #waiting = new WaitingRuns();
  #starts: RunStart[] = [];
  /** Claimed and not yet handed over to be settled. */
  #outstanding = 0;
  #turnPlanned = false;
  #flushPlanned = false;
  #mode: "running" | "draining" | "stopped" = "stopped";
  #workerId: WorkerId | undefined;
  #poll: NodeJS.Timeout | undefined;
  #stopListening: (() => void) | undefined;
  #idleWaiters: (() => void)[] = [];
  #limitsDrain = false;
  #gaveUp = false;
  #drainLimit: NodeJS.Timeout | undefined;

  constructor(options: HandlerWorkerOptions) {
    this.#options = options;
    this.#queues = new Map(options.queues.map((queue) => [queue.name, queue]));
    this.#limit = new OutstandingLimit({
      concurrency: options.limits.concurrency,
      max: options.limits.outstandingMax,
      monoNow: options.monoNow(),
    });
    this.#claims = new Claimer({
      claim: (request) => options.backend.claim(request),
      queues: options.queues.map(({ name, limits }) => ({ name, limits })),
      atOnce: options.limits.turns.atOnce,
      name: options.newId(),
      emit: options.emit,
      onClaimed: (runs) => this.#take(runs),
      onFailed: () => this.#planTurn(),
    });
    this.#ends = new EndBuffer({
      end: (batch) => options.backend.end(this.#session, batch),
      emit: options.emit,
      onEnded: (count) => {
        this.#limit.ended(count, options.monoNow());
        this.#planTurn();
      },
      onAnswer: (report, answer) => this.#answered(report, answer),
      retryMs: options.limits.retryMs,
      asideMax: options.limits.outstandingMax,
    });
    this.#exiting = new ExitingRuns({
      exits: options.exits,
      session: () => this.#session,
      onKept: (report) => this.#push(report, true),
      onOver: () => {
        this.#outstanding--;
        this.#limit.ended(1, options.monoNow());
        this.#planTurn();
      },
      emit: options.emit,
      retryMs: options.limits.retryMs,
    });
  }

  start(workerId: WorkerId): void {
    if (this.#workerId !== undefined) throw new Error("A worker starts once; a further session needs a worker of its own.");
    this.#workerId = workerId;
    this.#mode = "running";
    this.#stopListening = this.#options.backend.onJobs(() => this.lookAgain());
    this.#poll = setInterval(() => this.lookAgain(), this.#options.limits.pollMs);
    this.#poll.unref();
    this.#planTurn();
  }

  get #session(): WorkerId {
    if (this.#workerId === undefined) throw new Error("This worker has not been started.");
    return this.#workerId;
  }

  /** Takes jobs, now or when a slot is free again. */
  get takesJobs(): boolean {
    return this.#mode === "running";
  }

  get claimSeqReceived(): number {
    return this.#claims.seqReceived;
  }

  /** Claimed, with an end that is not durable yet and not set aside. */
  get outstanding(): number {
    return this.#outstanding + this.#ends.places;
  }

  /** The runs that this worker names as held: waiting, active, and ended until the store has taken their end. */
  held(): readonly RunId[] {
    return [...this.#active.keys(), ...this.#stuck.keys(), ...this.#exiting.ids(), ...this.#ends.unanswered(), ...this.#waiting.ids()];
  }

  /** The run is not ours any more: its handler is asked to stop and its end will be dropped. */
  lose(runId: RunId, why: string): void {
    const run = this.#active.get(runId);
    if (run !== undefined) {
      if (run.lost) return;
      run.lost = true;
      this.#askToStop(run, new Error(`Run ${runId} was lost: ${why}.`));
      return;
    }
    if (this.#waiting.remove(runId)) {
      this.#outstanding--;
      this.#planTurn();
    }
  }

  /** Ends claiming and hands back what has not started. Active handlers go on; await {@link drain} for their end. */
  retire(reason: string): void {
    if (this.#mode !== "running") return;
    this.#mode = "draining";
    this.#claims.giveUp();
    clearInterval(this.#poll);
    this.#stopListening?.();
    this.#stopListening = undefined;
    this.#releaseWaiting(reason);
  }

  /**
   * Retires. Resolves when the active runs have ended and all ends are written; ends that the store does not take are given up after a
   * minute. Handlers that ignore a request to stop are not waited for.
   */
  async drain(): Promise<void> {
    this.#limitsDrain = true;
    await this.#emptied();
  }

  /**
   * Like {@link drain}, but asks active handlers to abort; their throwing spends nothing. Resolves to the runs still busy after `graceMs`.
   * Their ends are not reported: the caller hands on their jobs once this process is gone.
   *
   * @param limits.unwrittenMs - How long ends may take to be written once the handlers have stopped or the grace is over; then they are given
   * up. Default: as long as the store takes.
   */
  async abort(graceMs: DurationMs, { unwrittenMs }: { readonly unwrittenMs?: DurationMs | undefined } = {}): Promise<readonly RunId[]> {
    const drained = this.#emptied();
    for (const run of this.#active.values()) {
      run.stopAs ??= { kind: "released", why: "the worker shut down" };
      run.abort(new Error("The worker is shutting down."));
    }
    await within(drained, graceMs, { holds: true });
    for (const run of this.#active.values()) this.#leak(run);
    this.#planTurn();
    if (unwrittenMs === undefined) await drained;
    else if ((await within(drained, unwrittenMs, { holds: true })) === tooLate) this.giveUp();
    return [...this.#stuck.keys()];
  }

  /** Repeats no more what the store does not take, and ends every wait for it. The runs are left to their judges, and the log says which. */
  giveUp(): void {
    this.#gaveUp = true;
    const left = [...new Set([...this.#ends.giveUp(), ...this.#exiting.giveUp()])];
    if (left.length > 0) this.#options.emit("store.degraded", { code: "ends_not_written", message: unwrittenText(left) });
    this.#wakeIdle();
  }

  /** There may be jobs: claims in this turn of the event loop, so that an enqueue of the same turn shares its transaction. */
  lookAgain(): void {
    this.#claims.lookAgain();
    this.#planTurn();
  }

  async #emptied(): Promise<void> {
    this.retire("the worker is draining");
    await new Promise<void>((resolve) => {
      this.#idleWaiters.push(resolve);
      this.#planTurn();
    });
    this.#mode = "stopped";
  }

  #releaseWaiting(reason: string): void {
    for (const { runId, ownerEpoch } of this.#waiting.takeAll())
      this.#push({ runId, ownerEpoch, ending: { kind: "released", why: reason } }, true);
  }

  /** Nothing is left to do but, perhaps, ends on their way. */
  #isIdleBut(endsIdle: boolean): boolean {
    if (this.#gaveUp) return this.#active.size === 0;
    return this.#active.size === 0 && this.#exiting.size === 0 && this.outstanding === 0 && !this.#claims.busy && endsIdle;
  }

  #planTurn(): void {
    if (this.#turnPlanned) return;
    this.#turnPlanned = true;
    queueMicrotask(this.#turn);
  }

  readonly #turn = (): void => {
    this.#turnPlanned = false;
    this.#beginWaiting();
    // Handlers may still end in this microtask chain: one settle and claim for all follow in the next macrotask. An earlier claim would
    // split the work into two halves for good, with a commit each.
    if (this.#active.size > 0) {
      if (!this.#flushPlanned) {
        this.#flushPlanned = true;
        setImmediate(this.#flush);
      }
      return;
    }
    this.#flush();
  };

  /** Reports the ended runs together with the next claim, so that both share one commit. */
  readonly #flush = (): void => {
    this.#flushPlanned = false;
    if (this.#starts.length > 0) this.#writeStarts();
    this.#ends.flush(this.#part);
    this.#claim();
    if (this.#idleWaiters.length === 0 || !this.#isIdleBut(this.#ends.idleButForAside)) return;
    if (this.#isIdleBut(this.#ends.idle)) this.#wakeIdle();
    else if (this.#limitsDrain) this.#drainLimit ??= setTimeout(() => this.giveUp(), drainUnwrittenMs);
  };

  #wakeIdle(): void {
    clearTimeout(this.#drainLimit);
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const resolve of waiters) resolve();
  }

  #beginWaiting(): void {
    const free = this.#options.limits.concurrency - this.#slotsLost();
    while (this.#mode === "running" && this.#active.size < free) {
      const claimed = this.#waiting.next();
      if (claimed === undefined) return;
      this.#begin(claimed);
    }
  }

  #begin(claimed: ClaimedWork): void {
    const queue = this.#queues.get(claimed.queue);
    const run = new ActiveRun(claimed, this.#options.backend.now(), this.#options.reports);
    this.#active.set(claimed.runId, run);
    if (queue === undefined) {
      this.#end(run, { kind: "threw", message: `This worker has no handler for ${claimed.queue}.`, permanent: false });
      return;
    }
    const { limits } = queue;
    if (!claimed.started) {
      const { runId, ownerEpoch } = claimed;
      run.start = { runId, ownerEpoch, startedAt: asInstant(run.startedAt), limits };
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
    run.timer = setTimeout(() => this.#giveUp(run), this.#options.limits.stopGraceMs).unref();
  }

  /** Its handler does not stop. What we know is written now, and the job waits until this process is proved gone. */
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
    this.#options.stuck.onStuck(run.runId);
    this.#planTurn();
  }

  #leak(run: ActiveRun): void {
    clearTimeout(run.timer);
    this.#active.delete(run.runId);
    this.#stuck.set(run.runId, run);
    this.#outstanding--;
  }

  #slotsLost(): number {
    return this.#options.stuck.slotsLost?.() ?? this.#stuck.size;
  }

  #end(run: ActiveRun, end: HandlerEnd): void {
    if (!this.#active.delete(run.runId)) {
      // It was given up before: its slot is free again.
      this.#stuck.delete(run.runId);
      this.#offerLate(run, end);
      this.#options.stuck.onUnstuck?.(run.runId);
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

  #conclude(run: ActiveRun, end: HandlerEnd, mayStillRun: boolean): void {
    const { start, claimed } = run;
    // A start not sent yet is folded into its end.
    const unsent = start === undefined ? -1 : this.#starts.indexOf(start);
    if (unsent !== -1) this.#starts.splice(unsent, 1);
    const report = reportOf(run, end, mayStillRun);
    if (end.kind === "returned" && this.#isGated(claimed)) this.#exiting.returned(report, claimed, end.output);
    else this.#push(report, end.kind !== "returned");
  }

  #isGated({ queue }: ClaimedWork): boolean {
    return this.#options.exits !== undefined && this.#queues.get(queue)?.gated === true;
  }

  /** As far as this worker knows the run is ended or another's. Only the fence decides. */
  #offerLate(run: ActiveRun, end: HandlerEnd): void {
    const { backend, exits, emit } = this.#options;
    const { claimed } = run;
    const gated = this.#isGated(claimed);
    const offer = async (report: EndReport): Promise<void> => {
      if (gated && end.kind === "returned" && end.output !== undefined) await exits?.save(claimed.runId, end.output);
      const [answer] = await backend.end(this.#session, [report]);
      if (answer?.kind === "read") await exits?.report(this.#session, claimed);
    };
    offerLateResult(reportOf(run, end, false), offer, emit);
  }

  /** Whether the run is over for this worker. */
  #answered({ runId }: EndReport, { kind }: EndAnswer): boolean {
    if (kind === "read" && this.#exiting.has(runId)) {
      this.#exiting.read(runId);
      return false;
    }
    this.#exiting.drop(runId);
    this.#outstanding--;
    return true;
  }

  /**
   * A return is written in the turn of its report, before that turn's claim, so its place is free at once. Any other end needs a look at
   * the run, and keeps its place until answered.
   */
  #push(report: EndReport, awaited: boolean): void {
    if (!awaited) this.#outstanding--;
    this.#ends.push(report, awaited);
    this.#planTurn();
  }

  #writeStarts(): void {
    const starts = this.#starts;
    this.#starts = [];
    this.#options.backend.start(this.#session, starts).then(
      (answers) => {
        for (const [at, answer] of answers.entries()) {
          const start = starts[at];
          if (start !== undefined && answer.kind !== "ok" && answer.kind !== "already")
            this.lose(start.runId, answer.kind === "lost" ? answer.why : "it no longer exists");
        }
      },
      (thrown: unknown) => {
        // Not waited for: the end of each run repeats its start.
        this.#options.emit("store.degraded", { code: "start_failed", message: messageOf(thrown) });
      },
    );
  }

  #claim(): void {
    if (this.#mode !== "running" || this.#workerId === undefined) return;
    while (this.#claims.claim(this.#workerId, this.#roomBeside));
  }

  readonly #roomBeside = (asked: ClaimRoom): ClaimRoom => {
    const limit = this.#limit.value;
    const part = this.#part;
    const free = limit - this.outstanding - asked.max;
    const nothingWaits = this.#waiting.empty;
    // What is asked for beside another claim is a whole part, or the rest of what is free would come in ever smaller claims.
    const least = asked.max > 0 ? part : nothingWaits ? 1 : Math.min(part, limit / 4);
    if (free < least) return { max: 0, startNow: 0 };
    const { concurrency } = this.#options.limits;
    const startNow = nothingWaits ? Math.max(0, concurrency - this.#active.size - this.#slotsLost() - asked.startNow) : 0;
    return { max: Math.min(free, part), startNow };
  };

  /** Runs of one claim, or of one batch of ends. */
  get #part(): number {
    return partOf(this.#limit.value, this.#options.limits.turns);
  }

  #take(runs: readonly ClaimedWork[]): void {
    this.#outstanding += runs.length;
    this.#waiting.add(runs);
    if (this.#mode !== "running") this.#releaseWaiting("the worker is draining");
    this.#planTurn();
  }
}
