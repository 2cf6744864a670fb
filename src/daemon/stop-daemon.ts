import { messageOf } from "../domain/errors.ts";
import { type DurationMs, seconds } from "../domain/time.ts";
import { StopSteps } from "../runtime/stop-steps.ts";
import type { Emit } from "../telemetry/events.ts";

/**
 * How a daemon ends. `leave`: commands live on and are adopted by the next start. `drain`: waits for them. `interrupt`: stops them,
 * unspent.
 */
export type StopMode = "leave" | "drain" | "interrupt";

/** What a stop could not do in order. Empty: everything. */
export interface StopReport {
  /** Steps that had not ended when their time was up. */
  readonly late: readonly string[];
  /** Steps that failed, with what they said. */
  readonly failed: readonly string[];
}

/** What is stopped, in the order in which it is. */
export interface StoppableParts {
  readonly session: { drain(): Promise<void>; close(): Promise<void> };
  readonly handlers: { stop(mode: "abort" | "drain"): Promise<void> } | undefined;
  readonly worker: { leave(): Promise<void>; drain(): Promise<void>; stopAll(): Promise<void> };
  readonly paths: { close(): void };
  readonly loops: { stop(): Promise<void>; stopBlocked(timeoutMs: DurationMs): Promise<void> };
  readonly server: { close(): Promise<void> };
  readonly metrics: { close(): void };
  readonly store: { close(): Promise<void> };
}

export interface StopOptions {
  readonly emit: Emit;
  readonly mono: () => number;
  /** How long a stopped process may take to be gone: stop grace + kill grace + 10 s. */
  readonly stopWithinMs: DurationMs;
  /** For everything but the work that is waited for. Default 9 s, of the 10 in which a daemon that is told to stop is gone. */
  readonly deadlineMs?: DurationMs | undefined;
}

const defaultDeadlineMs: DurationMs = seconds(9);
/** For a word to the store, which takes milliseconds where the store answers at all. */
const wordMs: DurationMs = seconds(1);
/** A worker waits 3 s for what is under way by itself; loops 5 s for their ticks. */
const workMs: DurationMs = seconds(4);
const loopsMs: DurationMs = seconds(6);

/**
 * Stops a daemon. Never rejects. All steps but those of `drain` and `interrupt` are bounded: a disk that does not answer must not hold the
 * process. Leaving early loses nothing; the next start goes on as after a crash.
 */
export async function stopDaemon(mode: StopMode, parts: StoppableParts, options: StopOptions): Promise<StopReport> {
  const { session, handlers, worker, paths, loops, server, metrics, store } = parts;
  const { emit, mono, stopWithinMs, deadlineMs = defaultDeadlineMs } = options;
  const steps = new StopSteps({
    deadlineMs: mode === "interrupt" ? stopWithinMs + deadlineMs : deadlineMs,
    mono,
    onLate: ({ step, waitedMs }) => emit("daemon.stop_late", { step, waitedMs }),
  });
  const takeHandlers = async (): Promise<void> => await handlers?.stop(mode === "drain" ? "drain" : "abort");

  await steps.take("say that it takes no more work", wordMs, () => session.drain());
  if (mode === "drain") {
    await steps.takeUnbounded("wait for running work", async () => {
      await Promise.all([worker.drain(), takeHandlers()]);
    });
  } else {
    const handlersEnd = steps.take("stop the handler host", deadlineMs, takeHandlers);
    if (mode === "interrupt") {
      await steps.take("end running commands", workMs, () => worker.stopAll());
      await steps.take("stop the processes of ended runs", stopWithinMs, () => loops.stopBlocked(stopWithinMs));
    } else await steps.take("let go of running commands", workMs, () => worker.leave());
    await handlersEnd;
  }
  // Who waits for a share is told at once that it is over.
  paths.close();
  await steps.take("stop the loops", loopsMs, () => loops.stop());
  await steps.take("say goodbye", wordMs, () => session.close());
  await steps.take("close the API", wordMs, () => server.close());
  const failed = steps.failures.map(({ step, thrown }) => `${step}: ${messageOf(thrown)}`);
  const late = (): readonly string[] => steps.late.map(({ step }) => step);
  emit("daemon.stopped", { reason: mode, late: late(), failed });
  metrics.close();
  await steps.take("close the store", wordMs, () => store.close());
  return { late: late(), failed: steps.failures.map(({ step, thrown }) => `${step}: ${messageOf(thrown)}`) };
}
