import { addMs, type DurationMs, type Instant } from "../domain/time.ts";
import type { Outcome } from "../liveness/retry-contract.ts";
import type { Random } from "../liveness/retry-delay.ts";
import type { StageDefinition } from "../pipelines/definition.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import type { LiveRun, LockManners, NotSettled, RunsStore, Settlement } from "../store/port/runs.ts";
import type { Emit } from "../telemetry/events.ts";
import { settlementOfFailure, settlementOfSuccess } from "./settlement.ts";
import { type Ended, tellLostEnd, tellSettled } from "./tell-ends.ts";

export interface RunEnderDeps {
  readonly store: { readonly runs: Pick<RunsStore, "settle" | "settleLostPage">; now(): Instant };
  readonly registry: PipelineRegistry;
  readonly random: Random;
  readonly emit: Emit;
  /** How long the job may stay blocked by the stop of its run before an alert: {@link stopWithin}. */
  readonly stopWithinMs: () => DurationMs;
}

/** How a run failed, as whoever noticed says. */
export interface RunFailure {
  readonly outcome: Outcome;
  /** Stable code. */
  readonly reason: string;
  readonly evidence?: unknown;
  readonly exitCode?: number | undefined;
  /** Of a run that the store may still hold as reserved: its start is folded into its end. */
  readonly startedAt?: Instant | undefined;
  /** Its process may still live: the job stays blocked until the stopper has proof. */
  readonly mayStillLive?: boolean | undefined;
  /** Extra delay of one of many jobs that a single event requeues. */
  readonly spreadMs?: DurationMs | undefined;
  /** Where the caller knows it; absent: as the registry has it. */
  readonly stage?: StageDefinition | undefined;
}

export interface EndManners extends LockManners {
  /** The caller supervises the run: if it has lost the run, what it tried becomes a late result. */
  readonly supervises?: boolean | undefined;
  /** Called once the store has answered, before any event. */
  readonly onAnswered?: (() => void) | undefined;
}

type LostPage = Parameters<RunsStore["settleLostPage"]>[0];

/**
 * Ends runs: makes the settlement, writes it and, if the flip is won, emits its events after the commit. Successes of handlers go by the
 * batch (`worker/backends/run-reports.ts`), a cancel with its item (`store/items/cancels.ts`).
 */
export class RunEnder {
  readonly #deps: RunEnderDeps;

  constructor(deps: RunEnderDeps) {
    this.#deps = deps;
  }

  /** Ends a run that did not succeed, by the retry contract. */
  async end(run: LiveRun, failure: RunFailure, how: EndManners & { readonly actor: string }): Promise<Ended> {
    return await this.write(run, this.#settlementOf(run, failure, how.actor), how);
  }

  /** The same for many, in one call of the store. Answers in the order given: one that fails takes no other with it. */
  async endAll(
    ends: readonly { readonly run: LiveRun; readonly failure: RunFailure }[],
    { actor, supervises }: Pick<EndManners, "supervises"> & { readonly actor: string },
  ): Promise<readonly (Ended | NotSettled)[]> {
    const { store, emit } = this.#deps;
    const made = ends.map(({ run, failure }) => ({ queue: run.queue, settlement: this.#settlementOf(run, failure, actor) }));
    const answers = await store.runs.settle(made.map(({ settlement }) => settlement));
    return made.map((end, at) => tellSettled(emit, { ...end, answer: answers[at], supervises }));
  }

  /** Ends a run that succeeded, of which nothing follows but that its job is done. */
  async endWell(
    run: LiveRun,
    details: { readonly reason: string; readonly exitCode: number; readonly evidence: unknown },
    { actor }: { readonly actor: string },
  ): Promise<Ended> {
    return await this.write(run, settlementOfSuccess(run, { advance: undefined, output: undefined, details }, { actor }));
  }

  /** Writes an end that was decided by reading the run's result, such as the finaliser's. */
  async write(
    run: Pick<LiveRun, "queue">,
    settlement: Settlement,
    { mayStillLive = false, unlessLocked, supervises, onAnswered }: EndManners & { readonly mayStillLive?: boolean | undefined } = {},
  ): Promise<Ended> {
    const { store, emit } = this.#deps;
    const whole = mayStillLive ? { ...settlement, stopBy: this.#stopBy() } : settlement;
    const [answer] = await store.runs.settle([whole], { unlessLocked });
    onAnswered?.();
    const ended = tellSettled(emit, { settlement: whole, queue: run.queue, answer, supervises });
    if (ended.kind === "failed") throw ended.error;
    return ended;
  }

  /**
   * Ends a page of what dead sessions held.
   *
   * @param room - how many of them get an event each; the caller reports the others as a number.
   */
  async endLostPage(page: LostPage, room: number): ReturnType<RunsStore["settleLostPage"]> {
    const { store, emit } = this.#deps;
    const ended = await store.runs.settleLostPage(page);
    for (const end of ended.ended.slice(0, Math.max(0, room))) tellLostEnd(emit, end, page.actor);
    return ended;
  }

  #settlementOf(run: LiveRun, { outcome, mayStillLive, stage, startedAt, ...details }: RunFailure, actor: string): Settlement {
    const { registry, random } = this.#deps;
    const stopBy = mayStillLive === true ? this.#stopBy() : undefined;
    return { ...settlementOfFailure(run, outcome, { ...details, stopBy }, { registry, random, stage, actor }), startedAt };
  }

  #stopBy(): Instant {
    const { store, stopWithinMs } = this.#deps;
    return addMs(store.now(), stopWithinMs());
  }
}
