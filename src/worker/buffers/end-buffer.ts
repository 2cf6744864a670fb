import { isRefusal, messageOf } from "../../domain/errors.ts";
import type { RunId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { Emit } from "../../telemetry/events.ts";
import type { EndAnswer, EndReport } from "../worker-backend.ts";

export interface EndBufferOptions {
  readonly end: (batch: readonly EndReport[]) => Promise<readonly EndAnswer[]>;
  readonly emit: Emit;
  /** This many runs have ended or were given up: there is room for more. */
  readonly onEnded: (count: number) => void;
  /** The answer to a report pushed as awaited. False: its run is not over, and does not count as ended. */
  readonly onAnswer: (report: EndReport, answer: EndAnswer) => boolean;
  /** First delay before a failed batch is tried again; doubled up to 10 s. Default 100. */
  readonly retryMs?: DurationMs | undefined;
}

const gone: EndAnswer = { kind: "gone" };

interface Batch {
  readonly reports: readonly EndReport[];
  /** Reports whose answer is awaited. Undefined: none, as nearly always. */
  readonly awaited: ReadonlySet<EndReport> | undefined;
  tries: number;
}

const retryMsMax: DurationMs = 10_000;

/**
 * Reports of runs' ends on their way to the store. Each is kept until answered and repeated when unclear: reporting is idempotent. A batch
 * that keeps failing is sent one by one, so that one member cannot block the others.
 */
export class EndBuffer {
  readonly #options: EndBufferOptions;
  #waiting: EndReport[] = [];
  #awaited: Set<EndReport> | undefined;
  readonly #sent = new Set<Batch>();
  #failing = 0;

  constructor(options: EndBufferOptions) {
    this.#options = options;
  }

  /** Sent before, refused by a store in trouble, and still to be sent again. */
  get failing(): number {
    return this.#failing;
  }

  get idle(): boolean {
    return this.#waiting.length === 0 && this.#sent.size === 0;
  }

  push(report: EndReport, awaited: boolean): void {
    this.#waiting.push(report);
    if (!awaited) return;
    this.#awaited ??= new Set();
    this.#awaited.add(report);
  }

  /** Sends everything that waits, in this turn of the event loop and in batches of `batchMax` at most. */
  flush(batchMax: number): void {
    const [reports, awaited] = [this.#waiting, this.#awaited];
    this.#waiting = [];
    this.#awaited = undefined;
    for (let from = 0; from < reports.length; from += batchMax) {
      const batch = reports.length <= batchMax ? reports : reports.slice(from, from + batchMax);
      this.#send({ reports: batch, awaited, tries: 0 });
    }
  }

  /** Runs whose end is not answered yet. */
  *unanswered(): Generator<RunId> {
    for (const { runId } of this.#waiting) yield runId;
    for (const { reports } of this.#sent) for (const { runId } of reports) yield runId;
  }

  #send(batch: Batch): void {
    this.#sent.add(batch);
    this.#options.end(batch.reports).then(
      (answers) => this.#answered(batch, answers),
      (thrown: unknown) => this.#failed(batch, thrown),
    );
  }

  #answered(batch: Batch, answers: readonly EndAnswer[]): void {
    this.#drop(batch);
    const { onEnded, onAnswer } = this.#options;
    const { reports, awaited } = batch;
    for (const [at, answer] of answers.entries()) if (answer.kind === "refused") this.#tellRefusal(reports[at], answer.why);
    let ended = reports.length;
    if (awaited !== undefined) {
      for (const [at, report] of reports.entries()) if (awaited.has(report) && !onAnswer(report, answers[at] ?? gone)) ended--;
    }
    onEnded(ended);
  }

  #failed(batch: Batch, thrown: unknown): void {
    const { emit, retryMs = 100 } = this.#options;
    const size = batch.reports.length;
    const refused = isRefusal(thrown);
    if (refused && size === 1) {
      this.#answered(batch, [{ kind: "refused", why: messageOf(thrown) }]);
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

  /** Repeating cannot help: its judge ends the run, which this worker names no more. */
  #tellRefusal(report: EndReport | undefined, why: string): void {
    this.#options.emit("defect.found", { where: "end-buffer", message: `run ${report?.runId ?? "?"}: ${why}` });
  }

  #drop(batch: Batch): void {
    this.#sent.delete(batch);
    if (batch.tries > 0) this.#failing -= batch.reports.length;
  }
}

const singly = ({ reports, awaited, tries }: Batch): Batch[] => reports.map((report) => ({ reports: [report], awaited, tries }));
