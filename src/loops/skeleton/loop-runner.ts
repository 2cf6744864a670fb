import { SpanStatusCode, trace } from "@opentelemetry/api";
import { spanText } from "../../domain/durations.ts";
import { messageOf } from "../../domain/errors.ts";
import type { DurationMs, Instant } from "../../domain/time.ts";
import type { RaiseAlert } from "../../notify/raise-alert.ts";
import { tooLate, within } from "../../runtime/time-limit.ts";
import type { Emit } from "../../telemetry/events.ts";
import { type Loop, type LoopSnapshot, nothingSeen, type TickReport } from "./loop.ts";
import type { Pulse } from "./pulse.ts";

export interface LoopRunnerDeps {
  readonly now: () => Instant;
  readonly monoNow: () => number;
  readonly random: () => number;
  readonly emit: Emit;
  readonly alert: RaiseAlert;
  /** Runs before each tick: a judge of silence must first know when nothing could be heard. */
  readonly beforeTick?: (() => Promise<void>) | undefined;
  /** Wakes this process's loops together, where their interval is a multiple of its period. Absent: each has its own timer. */
  readonly pulse?: Pulse | undefined;
}

/** How often a loop ticks, and whether. */
export interface LoopManners {
  readonly intervalMs: DurationMs;
  /** The kill switch. */
  readonly enabled: () => boolean;
  /** Settings shown when the loop starts. Default: none. */
  readonly settings?: Readonly<Record<string, unknown>> | undefined;
}

const tracer = trace.getTracer("wakeful");

/** A loop is late, and raises an alert, when a tick has not finished within this many periods. */
const latePeriods = 5;
/** How far a wait may differ from the interval, so that loops of many daemons do not tick in step. */
const jitter = 0.1;

/**
 * The one skeleton of all loops: kill switch, jitter, hints, isolation, dry run, snapshot, start and stop.
 * One failed tick never ends the loop, and a loop never keeps the process alive.
 */
export class LoopRunner {
  readonly loop: Loop;
  /** Fixed at construction; everything else is read at each tick. */
  readonly intervalMs: DurationMs;
  readonly #deps: LoopRunnerDeps;
  readonly #manners: LoopManners;
  #stopping: AbortController | undefined;
  #running: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #woken = false;
  #ticking: Promise<TickReport> | undefined;
  #tickStartedMono: number | undefined;
  #lateTold = false;
  #lastRunAt: Instant | null = null;
  #lastSuccessAt: Instant | null = null;
  #lastDurationMs: DurationMs | null = null;
  #lastError: string | null = null;
  #ticks = 0;
  #failures = 0;
  #seen = 0;
  #settled = 0;
  #lost = 0;

  constructor(loop: Loop, manners: LoopManners, deps: LoopRunnerDeps) {
    this.loop = loop;
    this.intervalMs = manners.intervalMs;
    this.#manners = manners;
    this.#deps = deps;
  }

  /** Starting twice leaves one loop. A stopped loop whose last tick still runs is followed by another. */
  start(): void {
    if (this.#stopping !== undefined && !this.#stopping.signal.aborted) return;
    this.#stopping = new AbortController();
    this.#deps.emit("loop.started", {
      loop: this.loop.name,
      intervalMs: this.intervalMs,
      enabled: this.#manners.enabled(),
      settings: this.#manners.settings ?? {},
    });
    const running = this.#run(this.#stopping.signal, this.#running);
    this.#running = running;
    void running.then(() => {
      if (this.#running !== running) return;
      this.#running = undefined;
      this.#stopping = undefined;
    });
  }

  get alive(): boolean {
    return this.#running !== undefined;
  }

  /** Interrupts the wait and resolves when the running tick has ended, or to `false` after `timeoutMs`. */
  async stop(timeoutMs: DurationMs = 5000): Promise<boolean> {
    const running = this.#running;
    if (this.#stopping === undefined || running === undefined) return true;
    this.#stopping.abort();
    this.wake();
    const clean = (await within(running, timeoutMs, { holds: true })) !== tooLate;
    this.#deps.emit("loop.stopped", { loop: this.loop.name, clean });
    return clean;
  }

  /** A hint to tick soon. Correctness never needs it. */
  wake(): void {
    this.#woken = true;
    this.#wake?.();
  }

  /** Ticks once now, whether the loop runs or not; used by `wakeful reap`, tests and start-up. Ticks of one loop never overlap. */
  async tickOnce(options: { readonly dryRun?: boolean } = {}): Promise<TickReport> {
    while (this.#ticking !== undefined) await this.#ticking;
    this.#ticking = this.#tick(options.dryRun ?? false, this.#stopping?.signal ?? new AbortController().signal);
    try {
      return await this.#ticking;
    } finally {
      this.#ticking = undefined;
    }
  }

  snapshot(): LoopSnapshot {
    return {
      name: this.loop.name,
      enabled: this.#manners.enabled(),
      running: this.alive,
      intervalMs: this.intervalMs,
      lastRunAt: this.#lastRunAt,
      lastSuccessAt: this.#lastSuccessAt,
      lastDurationMs: this.#lastDurationMs,
      lastError: this.#lastError,
      ticks: this.#ticks,
      failures: this.#failures,
      seen: this.#seen,
      settled: this.#settled,
      lost: this.#lost,
      details: this.loop.details(),
    };
  }

  /** Raises an alert when a tick has run for too long. */
  checkLate(): void {
    const startedMono = this.#tickStartedMono;
    if (startedMono === undefined) {
      this.#lateTold = false;
      return;
    }
    const sinceMs = this.#deps.monoNow() - startedMono;
    if (sinceMs > latePeriods * this.intervalMs && !this.#lateTold) {
      this.#lateTold = true;
      const { name } = this.loop;
      this.#deps.emit("loop.late", { loop: name, sinceMs });
      // Not awaited: whatever blocks the tick may block the store as well.
      void this.#deps.alert({
        cause: `loop.late:${name}`,
        title:
          `The loop ${name} has not finished a tick for ${spanText(sinceMs)} (it ticks every ${spanText(this.intervalMs)}): what it ` +
          "repairs is not repaired. See whether the store and the disks of this host answer; if they do, restart the daemon",
        details: { loop: name, sinceMs, intervalMs: this.intervalMs },
      });
    }
  }

  async #run(signal: AbortSignal, before: Promise<void> | undefined): Promise<void> {
    await before;
    let waitMs = 0;
    while (!signal.aborted) {
      await this.#wait(waitMs);
      if (signal.aborted) break;
      this.#woken = false;
      const report = await this.tickOnce().catch((thrown: unknown) => {
        // The tick reports its own failures; this one is of the code around it, for example while the store closes. The loop goes on.
        this.#deps.emit("loop.failed", { loop: this.loop.name, message: messageOf(thrown) });
        return nothingSeen;
      });
      waitMs = this.#waitAfter(report);
    }
  }

  /** Time until the next tick without a hint. A wait of the whole interval is left to the pulse, which jitters for all loops at once. */
  #waitAfter({ nextInMs }: TickReport): DurationMs {
    if (this.#deps.pulse?.keeps(this.intervalMs) === true) return Math.max(0, Math.min(this.intervalMs, nextInMs ?? this.intervalMs));
    const interval = this.intervalMs * (1 + (this.#deps.random() - 0.5) * 2 * jitter);
    return Math.max(0, Math.min(interval, nextInMs ?? interval));
  }

  async #wait(ms: DurationMs): Promise<void> {
    if (this.#woken) {
      // A loop that is woken without pause must still leave timers and requests their turn.
      await new Promise((resolve) => setImmediate(resolve));
      return;
    }
    await new Promise<void>((resolve) => {
      const cancel = this.#after(ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
    this.#wake = undefined;
  }

  #after(ms: DurationMs, resolve: () => void): () => void {
    const { pulse } = this.#deps;
    if (ms === this.intervalMs && pulse?.keeps(ms) === true) return pulse.after(ms, resolve);
    const timer = setTimeout(resolve, ms);
    // A loop never keeps its process alive.
    timer.unref();
    return () => clearTimeout(timer);
  }

  async #tick(dryRun: boolean, signal: AbortSignal): Promise<TickReport> {
    const { emit, now, monoNow } = this.#deps;
    const startedMono = monoNow();
    this.#tickStartedMono = startedMono;
    const span = tracer.startSpan(`loop ${this.loop.name}`);
    let report: TickReport = nothingSeen;
    try {
      await this.#deps.beforeTick?.();
      const enabled = this.#manners.enabled();
      if (enabled || this.loop.ticksWhenDisabled === true || dryRun)
        report = await this.loop.tick({ now: now(), signal, enabled, dryRun, emit });
      this.#lastError = null;
      this.#lastSuccessAt = now();
    } catch (thrown) {
      this.#failures++;
      this.#lastError = messageOf(thrown);
      span.setStatus({ code: SpanStatusCode.ERROR, message: this.#lastError });
      emit("loop.failed", { loop: this.loop.name, message: this.#lastError });
      report = { ...report, failed: 1 };
    } finally {
      const tookMs = monoNow() - startedMono;
      this.#tickStartedMono = undefined;
      this.#lastRunAt = now();
      this.#lastDurationMs = tookMs;
      this.#ticks++;
      this.#seen += report.seen;
      this.#settled += report.settled;
      this.#lost += report.lost;
      if (span.isRecording())
        span.setAttributes({
          "wakeful.seen": report.seen,
          "wakeful.settled": report.settled,
          "wakeful.lost": report.lost,
          "wakeful.failed": report.failed,
        });
      span.end();
      emit("loop.ticked", {
        loop: this.loop.name,
        seen: report.seen,
        settled: report.settled,
        lost: report.lost,
        failed: report.failed,
        tookMs,
      });
    }
    return report;
  }
}
