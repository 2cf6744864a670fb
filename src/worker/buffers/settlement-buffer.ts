import { isWakefulError, messageOf } from "../../domain/errors.ts";
import type { RunId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import { tellBatch } from "../../settling/tell-ends.ts";
import type { SettleAnswer, Settlement } from "../../store/port/runs.ts";
import type { Emit } from "../../telemetry/events.ts";

export interface SettleLaneOptions {
  readonly settle: (batch: readonly Settlement[]) => Promise<readonly SettleAnswer[]>;
  readonly emit: Emit;
  /** These were settled, or given up: there is room for more. */
  readonly onSettled: (settlements: readonly Settlement[]) => void;
  /** First delay before a failed batch is tried again; doubled up to 10 s. Default 100. */
  readonly retryMs?: DurationMs;
}

interface Batch {
  readonly settlements: readonly Settlement[];
  /** Of each settlement, for events. */
  readonly queues: readonly string[];
  tries: number;
}

const retryMsMax: DurationMs = 10_000;

/**
 * Settlements on their way to the store. Each is kept until the store has answered it: settling is idempotent, so whatever failed
 * unclearly is sent again. A batch that keeps failing is sent one by one, so that one member cannot hold the others.
 */
export class SettleLane {
  readonly #options: SettleLaneOptions;
  #settlements: Settlement[] = [];
  #queues: string[] = [];
  readonly #sent = new Set<Batch>();
  #failing = 0;

  constructor(options: SettleLaneOptions) {
    this.#options = options;
  }

  /** Waiting for the next {@link flush}. */
  get waiting(): number {
    return this.#settlements.length;
  }

  /** Sent before, refused by a store in trouble, and to be sent again. */
  get failing(): number {
    return this.#failing;
  }

  get idle(): boolean {
    return this.#settlements.length === 0 && this.#sent.size === 0;
  }

  push(settlement: Settlement, queue: string): void {
    this.#settlements.push(settlement);
    this.#queues.push(queue);
  }

  /** Hands everything that waits to the store, in this turn. */
  flush(): void {
    if (this.#settlements.length === 0) return;
    const batch: Batch = { settlements: this.#settlements, queues: this.#queues, tries: 0 };
    this.#settlements = [];
    this.#queues = [];
    this.#send(batch);
  }

  /** Runs whose end the store has not taken yet. */
  *unsettled(): Generator<RunId> {
    for (const { runId } of this.#settlements) yield runId;
    for (const { settlements } of this.#sent) for (const { runId } of settlements) yield runId;
  }

  #send(batch: Batch): void {
    this.#sent.add(batch);
    this.#options.settle(batch.settlements).then(
      (answers) => this.#answered(batch, answers),
      (thrown: unknown) => this.#failed(batch, thrown),
    );
  }

  #answered(batch: Batch, answers: readonly SettleAnswer[]): void {
    this.#drop(batch);
    const { emit, onSettled } = this.#options;
    tellBatch(emit, batch, answers);
    onSettled(batch.settlements);
  }

  #failed(batch: Batch, thrown: unknown): void {
    const { emit, retryMs = 100 } = this.#options;
    const size = batch.settlements.length;
    const refused = isWakefulError(thrown) && thrown.code === "bad_request";
    if (refused && size === 1) {
      // No repetition can help; the job-reaper ends the run by its limits.
      this.#drop(batch);
      emit("defect.found", { where: "settle-lane", message: `run ${batch.settlements[0]?.runId ?? "?"}: ${messageOf(thrown)}` });
      this.#options.onSettled(batch.settlements);
      return;
    }
    emit("store.degraded", { code: "settle_failed", message: messageOf(thrown) });
    if (batch.tries === 0) this.#failing += size;
    batch.tries++;
    const delayMs = Math.min(retryMsMax, retryMs * 2 ** Math.min(20, batch.tries - 1));
    const again = size > 1 && (refused || batch.tries > 3) ? singly(batch) : [batch];
    if (again.length > 1) this.#sent.delete(batch);
    for (const each of again) this.#sent.add(each);
    setTimeout(() => {
      for (const each of again) this.#send(each);
    }, delayMs).unref();
  }

  #drop(batch: Batch): void {
    this.#sent.delete(batch);
    if (batch.tries > 0) this.#failing -= batch.settlements.length;
  }
}

const singly = (batch: Batch): Batch[] =>
  batch.settlements.map((settlement, at) => ({ settlements: [settlement], queues: [batch.queues[at] ?? ""], tries: batch.tries }));
