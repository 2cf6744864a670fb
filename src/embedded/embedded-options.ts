import { WakefulError } from "../domain/errors.ts";
import { logMaxBytesMin } from "../domain/log-limits.ts";
import { type DurationMs, hours, type Instant } from "../domain/time.ts";
import type { EventLevel } from "../telemetry/events.ts";
import type { Handler } from "../worker/handlers/handler-context.ts";
import { type DefinedTask, isDefinedTask } from "../worker/handlers/task.ts";

/** A plain task: its handler and the limits of its runs. */
export interface EmbeddedTask {
  readonly handler: Handler;
  /** When a run is asked to stop, in milliseconds; it spends an attempt. Absent: never; a run is given up after 24 h. */
  readonly timeoutMs?: number | undefined;
  /** A run that has called `heartbeat()` or `progress()` no more for this long is hung. Absent: none is asked for. */
  readonly heartbeatTimeoutMs?: number | undefined;
  /** Age at which a run is given up whatever the evidence, in milliseconds; greater than `timeoutMs`. Default a minute above it, else 24 h. */
  readonly maxRunningMs?: number | undefined;
  /** Attempts of a job unless its enqueue says otherwise. At least 1, default 2. */
  readonly maxAttempts?: number;
  /**
   * Bytes of log lines that one run may hand to `log`; the line that would pass it is replaced by a note, and what comes after is dropped.
   * At least 4096, default 64 MiB.
   */
  readonly logMaxBytes?: number;
  /**
   * Runs of this task at once, over all processes of the store. Absent: only the workers' concurrency is the limit.
   * Counted in the store, which makes each job of the task about twice as expensive.
   */
  readonly concurrency?: number;
}

export interface EmbeddedOptions<Name extends string = string> {
  /** A file's path (SQLite, owned by this process alone), `:memory:`, or `postgres://...` (shared by any number of processes). */
  readonly store: string;
  /** By name. A task made by `defineTask` goes by the name that it stands under here. */
  readonly tasks: Readonly<Record<Name, Handler | EmbeddedTask | DefinedTask>>;
  /** Handlers at work at once in this process. At least 1, default 10. */
  readonly concurrency?: number;
  /**
   * Most jobs taken and not yet settled: what a crash may run again. At least `concurrency`, at most 1000, default 200; slow handlers
   * reserve nothing ahead whatever it is. Equal to `concurrency`, nothing is ever reserved ahead.
   */
  readonly outstandingMax?: number;
  /**
   * Where this host's identity and the count of starts are kept. Default: `<store>.state` beside a file, `./data` for a server.
   * It must survive restarts, and stay behind when a machine is cloned.
   */
  readonly dataDir?: string;
  /** SQLite: whether a commit survives a power cut (`full`, the default) or only the death of the process (`normal`). */
  readonly synchronous?: "full" | "normal";
  /** What happens, for people and programs. Default: warnings and errors go to standard error, a JSON object a line. Must not throw. */
  readonly log?: (line: EmbeddedLogLine) => void;
  /** How often jobs are looked for that no hint announced. At least 1000, which is the default. */
  readonly pollMs?: number;
}

/** One event of the catalogue (docs/events.md), or `run.log` for a line that a handler logged. */
export interface EmbeddedLogLine {
  readonly level: EventLevel;
  readonly event: string;
  readonly at: Instant;
  readonly data: Readonly<Record<string, unknown>>;
}

/** What a start goes by: every default filled in, every bound held. */
export interface CheckedOptions {
  readonly concurrency: number;
  readonly outstandingMax: number;
  readonly pollMs: DurationMs;
  readonly tasks: ReadonlyMap<string, EmbeddedTask>;
  /** Undefined: nothing is kept, the store is gone with this process. */
  readonly dataDir: string | undefined;
}

const defaults = { concurrency: 10, outstandingMax: 200, pollMs: 1000 } as const;

/** @throws {WakefulError} `bad_request`: an option out of its bounds. */
export function checkOptions(options: EmbeddedOptions): CheckedOptions {
  const { concurrency = defaults.concurrency, pollMs = defaults.pollMs } = options;
  const outstandingMax = options.outstandingMax ?? Math.max(defaults.outstandingMax, concurrency);
  checkWhole("concurrency", concurrency, { min: 1, max: 1000 });
  checkWhole("outstandingMax", outstandingMax, { min: concurrency, max: 1000 });
  checkWhole("pollMs", pollMs, { min: 1000, max: hours(1) });
  const tasks = new Map<string, EmbeddedTask>();
  for (const [name, given] of Object.entries<Handler | EmbeddedTask | DefinedTask>(options.tasks)) {
    if (name === "" || name.length > 200) throw new WakefulError("bad_request", "A task's name has 1 to 200 characters.");
    const task = taskOf(given);
    for (const field of ["timeoutMs", "heartbeatTimeoutMs", "maxAttempts", "concurrency"] as const) {
      const value = task[field];
      if (value !== undefined) checkWhole(`${name}.${field}`, value, { min: 1, max: Number.MAX_SAFE_INTEGER });
    }
    if (task.logMaxBytes !== undefined)
      checkWhole(`${name}.logMaxBytes`, task.logMaxBytes, { min: logMaxBytesMin, max: Number.MAX_SAFE_INTEGER });
    if (task.maxRunningMs !== undefined)
      checkWhole(`${name}.maxRunningMs`, task.maxRunningMs, { min: (task.timeoutMs ?? 0) + 1, max: Number.MAX_SAFE_INTEGER });
    tasks.set(name, task);
  }
  return { concurrency, outstandingMax, pollMs, tasks, dataDir: options.dataDir ?? dataDirBeside(options.store) };
}

function taskOf(given: Handler | EmbeddedTask | DefinedTask): EmbeddedTask {
  if (typeof given === "function") return { handler: given };
  return isDefinedTask(given) ? { handler: given.handler, ...given.limits, logMaxBytes: given.logMaxBytes } : given;
}

function checkWhole(field: string, value: number, { min, max }: { readonly min: number; readonly max: number }): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new WakefulError("bad_request", `${field} must be a whole number from ${min} to ${max}; it is ${value}.`, {
    details: { field, value },
  });
}

function dataDirBeside(store: string): string | undefined {
  if (store === ":memory:") return undefined;
  return /^postgres(ql)?:\/\//.test(store) ? "data" : `${store}.state`;
}
