import { WakefulError } from "../../domain/errors.ts";
import { logMaxBytesDefault, logMaxBytesMin } from "../../domain/log-limits.ts";
import { runTaskName } from "../../domain/run-task.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { RunLimits } from "../../store/port/runs.ts";
import type { Handler } from "./handler-context.ts";

/** A plain task: work outside any pipeline, enqueued by name. */
export interface DefinedTask {
  /** Recognised by shape, so that two copies of the package agree. */
  readonly wakefulTask: true;
  readonly name: string;
  readonly handler: Handler;
  readonly limits: RunLimits;
  /** Size at which a run's log is cut, in bytes. */
  readonly logMaxBytes: number;
}

export interface TaskOptions {
  /** Age at which a run is asked to stop, in milliseconds. At least 1. Default: none. */
  readonly timeoutMs?: DurationMs;
  /** Longest time between two signs of progress, in milliseconds. At least 1. Default: progress is not asked for. */
  readonly heartbeatTimeoutMs?: DurationMs;
  /**
   * Age at which a run is given up whatever the evidence, in milliseconds; greater than `timeoutMs`. Default: none, so the timeout with
   * what may honestly follow it, or `reaper.maxRunningMs` (24 h) without one.
   */
  readonly maxRunningMs?: DurationMs;
  /** Size at which the log of a run is cut to its newest half, in bytes. At least 4096. Default 64 MiB. */
  readonly logMaxBytes?: number;
}

/**
 * Defines a task, for the handlers module of a daemon or for an embedded worker.
 *
 * @example
 * export const resize = defineTask("resize", async (job, { signal }) => shrink(job.payload, signal), { timeoutMs: 60_000 });
 * @throws {WakefulError} `bad_request`: a name that is none (letters, digits and `._:-`, at most 100; not `run`), or limits that contradict each other.
 */
export function defineTask<Payload = unknown, Output = unknown>(
  name: string,
  handler: Handler<Payload, Output>,
  options: TaskOptions = {},
): DefinedTask {
  if (!/^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$/.test(name) || name === runTaskName) {
    throw new WakefulError(
      "bad_request",
      `"${name}" cannot name a task: use letters, digits and ._:- (at most 100), and not "${runTaskName}".`,
    );
  }
  const { timeoutMs, heartbeatTimeoutMs, maxRunningMs } = options;
  for (const [key, value] of Object.entries({ timeoutMs, heartbeatTimeoutMs, maxRunningMs })) {
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1)) {
      throw new WakefulError("bad_request", `${key} of task ${name} must be a whole number of milliseconds, at least 1.`);
    }
  }
  const { logMaxBytes = logMaxBytesDefault } = options;
  if (!Number.isSafeInteger(logMaxBytes) || logMaxBytes < logMaxBytesMin) {
    throw new WakefulError("bad_request", `logMaxBytes of task ${name} must be a whole number of bytes, at least ${logMaxBytesMin}.`);
  }
  if (timeoutMs !== undefined && maxRunningMs !== undefined && maxRunningMs <= timeoutMs) {
    throw new WakefulError(
      "bad_request",
      `maxRunningMs (${maxRunningMs}) of task ${name} must be greater than its timeoutMs (${timeoutMs}).`,
    );
  }
  const limits: RunLimits = { maxRunningMs, timeoutMs, heartbeatTimeoutMs };
  return Object.freeze({ wakefulTask: true, name, handler, limits, logMaxBytes });
}

export function isDefinedTask(value: unknown): value is DefinedTask {
  return typeof value === "object" && value !== null && "wakefulTask" in value && value.wakefulTask === true && "handler" in value;
}
