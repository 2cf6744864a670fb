import type { HostId, ItemId, JobId, RunId, WorkerId } from "../domain/ids.ts";
import type { RunOutcome } from "../domain/lifecycles/run.ts";
import type { DurationMs, Instant } from "../domain/time.ts";

/**
 * The catalogue of what happens: code emits these and nothing else; logs, metrics and the live stream subscribe.
 * Names are `noun.past`. Ids always, payloads and secrets never. Every documented field is present, also on failure.
 */
export interface WakefulEvents {
  "daemon.started": { readonly startSeq: number; readonly pid: number; readonly version: string; readonly listen: string | null };
  "daemon.stopped": { readonly reason: string; readonly late: readonly string[]; readonly failed: readonly string[] };
  "daemon.stop_late": { readonly step: string; readonly waitedMs: DurationMs };
  "data_dir.closed": { readonly path: string; readonly mode: string };
  "data_dir.open": { readonly path: string; readonly mode: string; readonly reason: string };
  "settings.changed": {
    readonly actor: string;
    readonly changes: readonly { readonly key: string; readonly from: unknown; readonly to: unknown }[];
  };
  "store.epoch_raised": { readonly epoch: number; readonly reason: string };
  "store.degraded": { readonly code: string; readonly message: string };
  "store.recovered": { readonly afterMs: DurationMs };
  "clock.stepped": { readonly byMs: number };
  "host.suspended": { readonly hostId: HostId; readonly forMs: DurationMs };
  "host.conflict_found": { readonly hostId: HostId };
  "vantage.changed": { readonly scope: string; readonly from: string; readonly to: string; readonly why: string };
  "vantage.unstable": { readonly channel: string; readonly intervals: number };

  "item.added": { readonly itemId: ItemId; readonly pipeline: string; readonly key: string; readonly label: string | null };
  "item.advanced": { readonly itemId: ItemId; readonly from: string; readonly to: string | null };
  "item.ended": { readonly itemId: ItemId; readonly state: string; readonly reason: string };
  "item.rescued": {
    readonly itemId: ItemId;
    readonly stage: string;
    readonly action: "redriven" | "advanced" | "ended";
    readonly reason: string;
  };
  "intake.rejected": { readonly pipeline: string; readonly fileName: string; readonly reason: string };
  "intake.duplicate_held": { readonly pipeline: string; readonly fileName: string; readonly duplicateId: number };
  "intake.waited": { readonly pipeline: string; readonly fileName: string; readonly reason: string };

  "job.enqueued": { readonly jobIds: readonly JobId[]; readonly queue: string };
  "job.cancelled": { readonly jobId: JobId; readonly actor: string; readonly reason: string };
  "job.held": { readonly jobId: JobId; readonly queue: string; readonly actor: string; readonly reason: string; readonly message: string };
  "job.unheld": { readonly jobId: JobId; readonly actor: string };
  "job.retried": { readonly jobId: JobId; readonly newJobId: JobId; readonly actor: string };

  "run.started": RunRef & { readonly attempt: number; readonly workerId: WorkerId; readonly pid: number | null };
  "run.progressed": RunRef & { readonly progress: unknown };
  "run.exited": RunRef & { readonly exitCode: number; readonly source: string };
  /** A run ended; for plain handler successes these are sampled into counts, see `runs.settled`. */
  "run.ended": RunRef & {
    readonly outcome: RunOutcome;
    readonly reason: string;
    readonly message: string;
    readonly jobState: string;
    readonly actor: string;
  };
  /** Plain successes of one group commit: one event for all, because one each would cost as much as settling them. */
  "runs.settled": { readonly count: number };
  "run.suspected": RunRef & { readonly streak: number; readonly of: number; readonly pid: number | null };
  "run.deferred": RunRef & { readonly reason: string };
  "run.adopted": RunRef & { readonly workerId: WorkerId; readonly evidence: string };
  "run.stopped": RunRef & { readonly proof: string; readonly tookMs: DurationMs };
  "run.unstoppable": RunRef & { readonly survivors: readonly number[]; readonly remains: string };
  "run.strays_stopped": RunRef & { readonly pids: readonly number[] };
  "run.late_result": RunRef & { readonly tried: string; readonly why: string };
  /** B-63: one warning per reap. */
  "run.reaped": RunRef & {
    readonly agent: string | null;
    readonly repo: string | null;
    readonly pid: number | null;
    readonly outcome: string;
    readonly reason: string;
  };
  /** More runs of one event than are told of singly: how many others ended like this, in the same tick. */
  "runs.reaped": { readonly count: number; readonly outcome: RunOutcome; readonly reason: string; readonly actor: string };
  "log.truncated": RunRef & { readonly file: string; readonly lostBytes: number };

  "worker.registered": { readonly workerId: WorkerId; readonly kind: string; readonly pid: number };
  "worker.left": { readonly workerId: WorkerId };
  "worker.buried": { readonly workerId: WorkerId; readonly reason: string; readonly message: string };
  "worker.fenced": { readonly workerId: WorkerId; readonly reason: string };
  "handler_host.exited": {
    readonly pid: number;
    readonly code: number | null;
    readonly signal: string | null;
    readonly restartInMs: DurationMs;
  };

  "lease.granted": { readonly lease: string; readonly fencing: number };
  "lease.released": { readonly lease: string; readonly fencing: number };
  "lease.reclaimed": { readonly lease: string; readonly fencing: number; readonly reason: string };
  "lease.overdue": { readonly lease: string; readonly fencing: number; readonly heldMs: DurationMs };

  "loop.started": {
    readonly loop: string;
    readonly intervalMs: DurationMs;
    readonly enabled: boolean;
    readonly settings: Readonly<Record<string, unknown>>;
  };
  "loop.stopped": { readonly loop: string; readonly clean: boolean };
  "loop.failed": { readonly loop: string; readonly message: string };
  "loop.subject_failed": { readonly loop: string; readonly subject: string; readonly message: string };
  "loop.late": { readonly loop: string; readonly sinceMs: DurationMs };
  "loop.ticked": {
    readonly loop: string;
    readonly seen: number;
    readonly settled: number;
    readonly lost: number;
    readonly failed: number;
    readonly tookMs: DurationMs;
  };
  "outbox.dead_lettered": { readonly id: number; readonly kind: string; readonly key: string; readonly error: string };
  "disk.low": { readonly path: string; readonly freeBytes: number; readonly needBytes: number };
  "disk.recovered": { readonly path: string; readonly freeBytes: number };
  "retention.pruned": { readonly jobs: number; readonly items: number; readonly runs: number; readonly duplicates: number };
  /** Something a person must know; delivered through the outbox as well where it follows from a flip. */
  "alert.raised": { readonly cause: string; readonly title: string; readonly details: Readonly<Record<string, unknown>> };
  "defect.found": { readonly where: string; readonly message: string };
}

interface RunRef {
  readonly runId: RunId;
  readonly jobId: JobId;
  readonly queue: string;
}

export type EventName = keyof WakefulEvents;
export type EventLevel = "error" | "warn" | "info" | "debug";

/** Level by need: `error` someone must act, `warn` we coped, `info` the world changed, `debug` the rest; and what each says. */
export const eventCatalogue: { readonly [Name in EventName]: { readonly level: EventLevel; readonly meaning: string } } = {
  "daemon.started": { level: "info", meaning: "The daemon is up: lock held, schema current, loops running." },
  "daemon.stopped": { level: "info", meaning: "The daemon has stopped: in order, save for the steps that it names." },
  "daemon.stop_late": {
    level: "error",
    meaning: "A step of the stop did not end in its time: a disk, the store or a process does not answer. The daemon stops without it.",
  },
  "data_dir.closed": { level: "info", meaning: "The data directory could be read by others; its mode is 0700 now." },
  "data_dir.open": {
    level: "warn",
    meaning: "Others may look into the data directory, and its mode is not ours to change; `wakeful doctor` says what to do.",
  },
  "settings.changed": { level: "info", meaning: "A person changed what loops read at each tick, until the daemon ends." },
  "store.epoch_raised": {
    level: "warn",
    meaning: "Ids continue in a new range, because the store was restored or a run folder existed already.",
  },
  "store.degraded": {
    level: "error",
    meaning: "The store refuses writes (full disk, lost connection); nothing is judged by silence meanwhile.",
  },
  "store.recovered": { level: "warn", meaning: "The store takes writes again." },
  "clock.stepped": { level: "warn", meaning: "The wall clock moved against the monotonic one; ages are not affected." },
  "host.suspended": { level: "warn", meaning: "The machine slept; its time asleep counts towards no limit." },
  "host.conflict_found": {
    level: "error",
    meaning: "Two live sessions share a host id but not a boot id: a cloned machine. No pid evidence of either is used.",
  },
  "vantage.changed": { level: "warn", meaning: "The watcher trusts its own hearing more or less than before." },
  "vantage.unstable": { level: "error", meaning: "The watcher was deaf too often to be trusted with silence." },
  "item.added": { level: "info", meaning: "An item entered a pipeline." },
  "item.advanced": { level: "info", meaning: "An item passed a stage." },
  "item.ended": { level: "info", meaning: "An item reached a final state." },
  "item.rescued": {
    level: "warn",
    meaning: "The reconciler found an item that nobody was working on, and gave it a job again, moved it on or ended it, as `action` says.",
  },
  "intake.rejected": { level: "warn", meaning: "A file was refused and moved to the error folder with the reason." },
  "intake.duplicate_held": { level: "info", meaning: "A file that is an item already waits for a decision." },
  "intake.waited": { level: "debug", meaning: "A file is not taken yet." },
  "job.enqueued": { level: "debug", meaning: "Jobs were added." },
  "job.cancelled": { level: "info", meaning: "A person ended a job." },
  "job.held": { level: "warn", meaning: "A waiting job is kept for a person, because nothing would ever run it." },
  "job.unheld": { level: "info", meaning: "A person granted a held job one more attempt." },
  "job.retried": { level: "info", meaning: "A person ran a finished job again as a new one." },
  "run.started": { level: "debug", meaning: "A run's process is at work." },
  "run.progressed": { level: "debug", meaning: "A run reported progress." },
  "run.exited": { level: "debug", meaning: "A run's exit is on record." },
  "run.ended": { level: "info", meaning: "A run ended, with its outcome and reason." },
  "runs.settled": { level: "debug", meaning: "Plain successes of one group commit." },
  "run.suspected": { level: "info", meaning: "A run's process looks dead; it is asked again before anything is done." },
  "run.deferred": { level: "info", meaning: "A verdict waits, for example while a finaliser is within its grace." },
  "run.adopted": { level: "warn", meaning: "A run went on under a new supervisor after its old one died." },
  "run.stopped": { level: "info", meaning: "A run's processes are proved stopped; its job may be claimed again." },
  "run.unstoppable": {
    level: "error",
    meaning:
      "Something of a run lives on and cannot be stopped; its job stays blocked until a person acts. `remains` names what is known of it.",
  },
  "run.strays_stopped": { level: "warn", meaning: "Processes that a run left behind were stopped." },
  "run.late_result": { level: "warn", meaning: "A supervisor that had lost its run tried to write; nothing changed." },
  "run.reaped": {
    level: "warn",
    meaning: "A reaper ended a run.",
  },
  "runs.reaped": {
    level: "warn",
    meaning: "A session held very many runs: so many ended with it, beside those that `run.reaped` tells of.",
  },
  "log.truncated": { level: "warn", meaning: "A run's output grew over its limit and lost its oldest part." },
  "worker.registered": { level: "info", meaning: "A worker opened a session." },
  "worker.left": { level: "info", meaning: "A worker said goodbye." },
  "worker.buried": { level: "warn", meaning: "A session was judged dead." },
  "worker.fenced": { level: "error", meaning: "A worker learnt that its session is dead and stopped what it held." },
  "handler_host.exited": { level: "warn", meaning: "The process that runs handlers ended and is started again." },
  "lease.granted": { level: "info", meaning: "A lease was granted under a new fencing number." },
  "lease.released": { level: "info", meaning: "A holder returned its lease." },
  "lease.reclaimed": { level: "warn", meaning: "A lease was freed because its holder is dead, or unknown past the TTL." },
  "lease.overdue": { level: "error", meaning: "A living holder keeps a lease past its TTL." },
  "loop.started": { level: "info", meaning: "A loop runs." },
  "loop.stopped": { level: "info", meaning: "A loop has stopped." },
  "loop.failed": { level: "error", meaning: "A loop's tick failed; the loop goes on." },
  "loop.subject_failed": { level: "error", meaning: "One subject of a loop failed; the others were handled." },
  "loop.late": { level: "error", meaning: "A loop has not finished a tick for five periods." },
  "loop.ticked": { level: "debug", meaning: "A loop finished a tick." },
  "outbox.dead_lettered": { level: "error", meaning: "A delivery was given up after its last attempt." },
  "disk.low": { level: "error", meaning: "Free disk is below the limit; nothing new is claimed." },
  "disk.recovered": { level: "warn", meaning: "Free disk is above the limit again." },
  "retention.pruned": { level: "info", meaning: "Old finished rows, logs and folders were removed." },
  "alert.raised": { level: "error", meaning: "Something a person must know." },
  "defect.found": { level: "error", meaning: "An invariant of the program itself does not hold; please report it." },
};

/** One emitted event, as subscribers get it. */
export type EmittedEvent = {
  readonly [Name in EventName]: { readonly name: Name; readonly at: Instant; readonly data: WakefulEvents[Name] };
}[EventName];

export type Emit = <Name extends EventName>(name: Name, data: WakefulEvents[Name]) => void;
