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
  /** Most ends that may be set aside at once, from 0. Default 200. */
  readonly asideMax?: number | undefined;
}

const gone: EndAnswer = { kind: "gone" };

interface Batch {
  readonly reports: readonly EndReport[];
  /** Reports whose answer is awaited. Undefined: none, as nearly always. */
  readonly awaited: ReadonlySet<EndReport> | undefined;
  tries: number;
}

const retryMsMax: DurationMs = 10_000;
/** After so many failures the members of a batch go one by one, and after one more a single end is set aside. */
const triesTogether = 4;

/**
 * Reports of runs' ends on their way to the store, each repeated until answered. A batch that keeps failing is sent one by one. An end that
 * fails alone too is *set aside*: repeated still, told once, without a place.
 */
export class EndBuffer {
  readonly #options: EndBufferOptions;
  #waiting: EndReport[] = [];
  #awaited: Set<EndReport> | undefined;
  readonly #sent = new Set<Batch>();
  readonly #aside = new Set<Batch>();
  /** Not awaited, sent before, not taken by a store in trouble, and not set aside. */
  #failing = 0;
  #asideAwaited = 0;
  #givenUp = false;

  constructor(options: EndBufferOptions) {
    this.#options = options;
  }

  /**
   * What a worker adds to its own count of places, which has the awaited ends and no others: one for each other end that fails, less the
   * awaited ones that are set aside.
   */
  get places(): number {
    return this.#failing - this.#asideAwaited;
  }

  get idle(): boolean {
    return this.#waiting.length === 0 && this.#sent.size === 0;
  }

  /** Nothing is left but ends that are set aside. */
  get idleButForAside(): boolean {
    return this.#waiting.length === 0 && this.#sent.size === this.#aside.size;
  }

  /** Repeats nothing from now on. Answers the runs whose ends are not answered, and forgets them. */
  giveUp(): readonly RunId[] {
    const left = [...this.unanswered()];
    this.#givenUp = true;
    this.#waiting = [];
    for (const batch of this.#sent) this.#drop(batch);
    return left;
  }

  push(report: EndReport, awaited: boolean): void {
    this.#waiting.push(report);
    if (!awaited) return;
    this.#awaited ??= new Set();
    this.#awaited.add(report);
  }

  /** Sends everything that waits, in this turn of the event loop and in batches of `batchMax` at most. */
  flush(batchMax: number): void {
    if (this.#givenUp) this.#waiting = [];
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
    // Given up meanwhile: nobody waits for it.
    if (!this.#sent.has(batch)) return;
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
    if (!this.#sent.has(batch)) return;
    const size = batch.reports.length;
    const refused = isRefusal(thrown);
    if (refused && size === 1) {
      this.#answered(batch, [{ kind: "refused", why: messageOf(thrown) }]);
      return;
    }
    if (batch.tries === 0) this.#failing += unawaitedOf(batch);
    batch.tries++;
    this.#tellFailure(batch, messageOf(thrown));
    const { retryMs = 100 } = this.#options;
    const delayMs = Math.min(retryMsMax, retryMs * 2 ** Math.min(20, batch.tries - 1));
    const again = size > 1 && (refused || batch.tries >= triesTogether) ? singly(batch) : [batch];
    if (again.length > 1) this.#sent.delete(batch);
    for (const each of again) this.#sent.add(each);
    setTimeout(() => {
      for (const each of again) if (this.#sent.has(each)) this.#send(each);
    }, delayMs).unref();
  }

  #tellFailure(batch: Batch, message: string): void {
    if (this.#aside.has(batch)) return;
    const { emit, asideMax = 200, onEnded } = this.#options;
    const [report] = batch.reports;
    if (batch.reports.length > 1 || batch.tries <= triesTogether || this.#aside.size >= asideMax) {
      emit("store.degraded", { code: "settle_failed", message });
      return;
    }
    this.#aside.add(batch);
    if (unawaitedOf(batch) === 0) this.#asideAwaited++;
    else this.#failing--;
    const repeated = `It is sent again every ${retryMsMax / 1000} s at most, and its place is free for other work.`;
    emit("store.degraded", {
      code: "end_set_aside",
      message: `The store does not take the end of run ${report?.runId ?? "?"}: ${message}. ${repeated}`,
    });
    onEnded(0);
  }

  /** Repeating cannot help: its judge ends the run, which this worker names no more. */
  #tellRefusal(report: EndReport | undefined, why: string): void {
    this.#options.emit("defect.found", { where: "end-buffer", message: `run ${report?.runId ?? "?"}: ${why}` });
  }

  #drop(batch: Batch): void {
    this.#sent.delete(batch);
    const unawaited = unawaitedOf(batch);
    if (this.#aside.delete(batch)) this.#asideAwaited -= 1 - unawaited;
    else if (batch.tries > 0) this.#failing -= unawaited;
  }
}

const unawaitedOf = ({ reports, awaited }: Batch): number =>
  awaited === undefined ? reports.length : reports.filter((report) => !awaited.has(report)).length;

const singly = ({ reports, awaited, tries }: Batch): Batch[] => reports.map((report) => ({ reports: [report], awaited, tries }));
