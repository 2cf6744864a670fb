import type { DurationMs } from "../domain/time.ts";
import { tooLate, within } from "./time-limit.ts";

/** A step of a stop that had not ended when its time was up. */
export interface LateStep {
  readonly step: string;
  readonly waitedMs: DurationMs;
}

export interface StopStepsOptions {
  /** For all bounded steps together, from the beginning or the last unbounded step on. */
  readonly deadlineMs: DurationMs;
  readonly mono: () => number;
  readonly onLate: (late: LateStep) => void;
}

/**
 * The steps of a stop, one after the other. Each has its own limit within what is left of the whole, so a hung disk or server holds up one
 * step only. A failed step does not prevent the others.
 */
export class StopSteps {
  readonly #options: StopStepsOptions;
  readonly #late: LateStep[] = [];
  readonly #failures: { readonly step: string; readonly thrown: unknown }[] = [];
  #endsAtMono: number;

  constructor(options: StopStepsOptions) {
    this.#options = options;
    this.#endsAtMono = options.mono() + options.deadlineMs;
  }

  get late(): readonly LateStep[] {
    return this.#late;
  }

  get failures(): readonly { readonly step: string; readonly thrown: unknown }[] {
    return this.#failures;
  }

  /** Takes a bounded step. Never rejects. What does not end in time goes on unattended, and ends with the process. */
  async take(step: string, limitMs: DurationMs, body: () => Promise<unknown>): Promise<void> {
    const { mono, onLate } = this.#options;
    const startedMono = mono();
    const ended = this.#begin(step, body);
    const giveUpMs = Math.max(0, Math.min(limitMs, this.#endsAtMono - startedMono));
    if ((await within(ended, giveUpMs, { holds: true })) !== tooLate) return;
    const late = { step, waitedMs: Math.round(mono() - startedMono) };
    this.#late.push(late);
    onLate(late);
  }

  /** Takes a step that lasts as long as people's work does. The deadline of the others begins when it has ended. Never rejects. */
  async takeUnbounded(step: string, body: () => Promise<unknown>): Promise<void> {
    await this.#begin(step, body);
    this.#endsAtMono = this.#options.mono() + this.#options.deadlineMs;
  }

  async #begin(step: string, body: () => Promise<unknown>): Promise<void> {
    try {
      await body();
    } catch (thrown) {
      this.#failures.push({ step, thrown });
    }
  }
}
