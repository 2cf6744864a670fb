import type { HostId, ItemId, JobId, RunId, WorkerId } from "../domain/ids.ts";
import type { RunOutcome } from "../domain/lifecycles/run.ts";
import type { DurationMs, Instant } from "../domain/time.ts";

export type EventLevel = "error" | "warn" | "info" | "debug";

interface CataloguedEvent<Data> {
  readonly level: EventLevel;
  readonly meaning: string;
  /** Carries the type of the event's data; never set. */
  readonly data?: Data;
}

/** Levels by need: `error` somebody must act, `warn` Wakeful coped, `info` the world changed, `debug` the rest. */
const event = <Data extends object>(level: EventLevel, meaning: string): CataloguedEvent<Data> => ({ level, meaning });

interface RunRef {
  readonly runId: RunId;
  readonly jobId: JobId;
  readonly queue: string;
}

/**
 * The catalogue of events: code emits these and nothing else; logs, metrics and the live stream subscribe. Names are `noun.past`. Ids
 * always, payloads and secrets never. Every documented field is present, also on failure.
 */
export const eventCatalogue = {
  "daemon.started": event<{ readonly startSeq: number; readonly pid: number; readonly version: string; readonly listen: string | null }>(
    "info",
    "The daemon is up: lock held, schema current, loops running.",
  ),
  "daemon.beside": event<{ readonly hostId: HostId; readonly place: string; readonly version: string; readonly pid: number }>(
    "info",
    "Another daemon, with a data directory of its own, works on the same store. Each claims the jobs of the items whose files it holds.",
  ),
  "daemon.without_init": event<{ readonly message: string }>(
    "warn",
    "The daemon is the first process of its container, and nothing removes processes that end without a parent.",
  ),
  "daemon.stopped": event<{ readonly reason: string; readonly late: readonly string[]; readonly failed: readonly string[] }>(
    "info",
    "The daemon has stopped: in order, save for the steps that it names.",
  ),
  "daemon.stop_late": event<{ readonly step: string; readonly waitedMs: DurationMs }>(
    "error",
    "A step of the stop did not end in its time: a disk, the store or a process does not answer. The daemon stops without it.",
  ),
  "data_dir.restricted": event<{ readonly path: string; readonly mode: string }>(
    "info",
    "The data directory could be read by others; its mode is 0700 now.",
  ),
  "data_dir.exposed": event<{ readonly path: string; readonly mode: string; readonly reason: string }>(
    "warn",
    "Others may look into the data directory, and its mode is not ours to change; `wakeful doctor` says what to do.",
  ),
  "log.dropped": event<{ readonly lines: number }>(
    "warn",
    "Nobody read the log for a while, and these lines were not kept. Nothing waited for the reader.",
  ),
  "settings.changed": event<{
    readonly actor: string;
    readonly changes: readonly { readonly key: string; readonly from: unknown; readonly to: unknown }[];
  }>("info", "A person changed what loops read at each tick, until the daemon ends."),
  "store.epoch_raised": event<{ readonly epoch: number; readonly reason: string }>(
    "warn",
    "Ids continue in a new range, because the store was restored or a run folder existed already.",
  ),
  "migration.advanced": event<{
    readonly schema: number;
    readonly step: string;
    readonly done: number | null;
    readonly total: number | null;
    readonly waitsFor: string | null;
    readonly message: string;
  }>("warn", "The store is brought to a newer schema, every few seconds; no work is taken before that is done."),
  "migration.finished": event<{ readonly schema: number; readonly tookMs: DurationMs }>("info", "The store has a newer schema."),
  "store.degraded": event<{ readonly code: string; readonly message: string }>(
    "error",
    "The store refuses writes (full disk, lost connection); nothing is judged by silence meanwhile.",
  ),
  "store.recovered": event<{ readonly afterMs: DurationMs }>("warn", "The store takes writes again."),
  "store.reader_overdue": event<{
    readonly kind: string;
    readonly who: string;
    readonly logBytes: number | null;
    readonly ageMs: DurationMs | null;
    readonly transactions: number | null;
    readonly remedy: string;
  }>(
    "error",
    "Somebody reads an old state of the store for so long that what is kept for it hurts: SQLite's log grows, PostgreSQL vacuums nothing newer.",
  ),
  "store.reader_gone": event<{ readonly kind: string; readonly who: string; readonly afterMs: DurationMs }>(
    "warn",
    "It no longer does; what was kept for it is cleaned up.",
  ),
  "clock.stepped": event<{ readonly byMs: number }>("warn", "The wall clock moved against the monotonic one; ages are not affected."),
  "store.clock_stepped": event<{ readonly byMs: number }>(
    "warn",
    "The clock of the store's server moved; the time since it was last looked at counts for no silence, and the step for no run's age.",
  ),
  "host.suspended": event<{ readonly hostId: HostId; readonly forMs: DurationMs }>(
    "warn",
    "The machine slept; its time asleep counts towards no limit.",
  ),
  "host.conflict_found": event<{ readonly hostId: HostId }>(
    "error",
    "Two live sessions share a host id but not a boot id: a cloned machine. No pid evidence of either is used.",
  ),
  "vantage.changed": event<{ readonly scope: string; readonly from: string; readonly to: string; readonly why: string }>(
    "warn",
    "The watcher trusts its own hearing more or less than before.",
  ),
  "vantage.unstable": event<{ readonly channel: string; readonly intervals: number }>(
    "error",
    "The watcher was deaf too often to be trusted with silence.",
  ),

  "item.added": event<{ readonly itemId: ItemId; readonly pipeline: string; readonly key: string; readonly label: string | null }>(
    "info",
    "An item entered a pipeline.",
  ),
  "item.advanced": event<{ readonly itemId: ItemId; readonly from: string; readonly to: string | null }>("info", "An item passed a stage."),
  "item.ended": event<{ readonly itemId: ItemId; readonly state: string; readonly reason: string }>(
    "info",
    "An item reached a final state.",
  ),
  "item.recovered": event<{
    readonly itemId: ItemId;
    readonly stage: string;
    readonly action: "redriven" | "held" | "advanced" | "ended";
    readonly reason: string;
  }>(
    "warn",
    "The reconciler found an item that nobody was working on, and gave it a job again, moved it on or ended it, as `action` says.",
  ),
  "intake.rejected": event<{ readonly pipeline: string; readonly fileName: string; readonly reason: string }>(
    "warn",
    "A file was refused and moved to the error folder with the reason.",
  ),
  "intake.duplicate_held": event<{ readonly pipeline: string; readonly fileName: string; readonly duplicateId: number }>(
    "info",
    "A file that is an item already waits for a decision.",
  ),
  "intake.file_gone": event<{ readonly pipeline: string; readonly fileName: string }>(
    "debug",
    "A file was gone when it was to be taken: another daemon that watches the folder was first, or its owner took it away.",
  ),
  "intake.waited": event<{ readonly pipeline: string; readonly fileName: string; readonly reason: string }>(
    "debug",
    "A file is not taken yet.",
  ),

  "job.enqueued": event<{ readonly jobIds: readonly JobId[]; readonly queue: string }>("debug", "Jobs were added."),
  "job.cancelled": event<{ readonly jobId: JobId; readonly actor: string; readonly reason: string }>("info", "A person ended a job."),
  "job.held": event<{
    readonly jobId: JobId;
    readonly queue: string;
    readonly actor: string;
    readonly reason: string;
    readonly message: string;
  }>("warn", "A waiting job is kept for a person, because nothing would ever run it."),
  "job.unheld": event<{ readonly jobId: JobId; readonly actor: string }>("info", "A person granted a held job one more attempt."),
  "job.retried": event<{ readonly jobId: JobId; readonly newJobId: JobId; readonly actor: string }>(
    "info",
    "A person ran a finished job again as a new one.",
  ),

  "run.started": event<RunRef & { readonly attempt: number; readonly workerId: WorkerId; readonly pid: number | null }>(
    "debug",
    "A run's process is at work.",
  ),
  "run.progressed": event<RunRef & { readonly progress: unknown }>("debug", "A run reported progress."),
  "run.exited": event<RunRef & { readonly exitCode: number; readonly source: string }>("debug", "A run's exit is on record."),
  /** A run ended; for plain handler successes these are sampled into counts, see `runs.settled`. */
  "run.ended": event<
    RunRef & {
      readonly outcome: RunOutcome;
      readonly reason: string;
      readonly message: string;
      readonly jobState: string;
      readonly actor: string;
    }
  >("info", "A run ended, with its outcome and reason."),
  /** Plain successes of one group commit: one event for all, because one each would cost as much as settling them. */
  "runs.settled": event<{ readonly count: number }>("debug", "Plain successes of one group commit."),
  "run.suspected": event<RunRef & { readonly streak: number; readonly of: number; readonly pid: number | null }>(
    "info",
    "A run's process looks dead; it is asked again before anything is done.",
  ),
  "run.wrapper_continued": event<RunRef & { readonly pid: number }>(
    "warn",
    "A run's command is dead and its wrapper was stopped (SIGSTOP); the wrapper goes on, to record how the command ended.",
  ),
  "run.deferred": event<RunRef & { readonly reason: string }>(
    "info",
    "A verdict waits, for example while a finaliser is within its grace.",
  ),
  "run.adopted": event<RunRef & { readonly workerId: WorkerId; readonly evidence: string }>(
    "warn",
    "A run went on under a new supervisor after its old one died.",
  ),
  "run.stopped": event<RunRef & { readonly proof: string; readonly tookMs: DurationMs }>(
    "info",
    "A run's processes are proved stopped; its job may be claimed again.",
  ),
  "run.unstoppable": event<RunRef & { readonly survivors: readonly number[]; readonly remains: string }>(
    "error",
    "Something of a run lives on and cannot be stopped; its job stays blocked until a person acts. `remains` names what is known of it.",
  ),
  "run.strays_stopped": event<RunRef & { readonly pids: readonly number[] }>("warn", "Processes that a run left behind were stopped."),
  "run.late_result": event<RunRef & { readonly tried: string; readonly why: string }>(
    "warn",
    "A supervisor that had lost its run tried to write; nothing changed.",
  ),
  "run.text_replaced": event<RunRef & { readonly message: string }>(
    "warn",
    "The store refused the text of a run's end, and the run ended with another text. The encoding of the database is not UTF8.",
  ),
  /** B-63: one warning per reap. */
  "run.reaped": event<
    RunRef & {
      readonly agent: string | null;
      readonly repo: string | null;
      readonly pid: number | null;
      readonly outcome: string;
      readonly reason: string;
    }
  >("warn", "A reaper ended a run."),
  /** More runs of one event than are reported singly: how many others ended like this, in the same tick. */
  "runs.reaped": event<{ readonly count: number; readonly outcome: RunOutcome; readonly reason: string; readonly actor: string }>(
    "warn",
    "A session held very many runs: so many ended with it, beside those that `run.reaped` tells of.",
  ),
  "log.truncated": event<RunRef & { readonly file: string; readonly lostBytes: number }>(
    "warn",
    "A run's output grew over its limit and lost its oldest part.",
  ),

  "worker.registered": event<{ readonly workerId: WorkerId; readonly kind: string; readonly pid: number }>(
    "info",
    "A worker opened a session.",
  ),
  "worker.left": event<{ readonly workerId: WorkerId }>("info", "A worker said goodbye."),
  "worker.dead": event<{ readonly workerId: WorkerId; readonly reason: string; readonly message: string }>(
    "warn",
    "A session was judged dead.",
  ),
  "worker.fenced": event<{ readonly workerId: WorkerId; readonly reason: string }>(
    "error",
    "A worker learnt that its session is dead and stopped what it held.",
  ),
  "worker.hung": event<{
    readonly workerId: WorkerId | null;
    readonly pid: number;
    readonly silentMs: DurationMs;
    readonly limitMs: DurationMs;
    readonly killed: boolean;
  }>("error", "A process that lives has said nothing for too long: the daemon kills its own handler host for it, and alerts of any other."),
  "handler_host.exited": event<{
    readonly pid: number;
    readonly code: number | null;
    readonly signal: string | null;
    readonly restartInMs: DurationMs;
  }>("warn", "The process that runs handlers ended and is started again."),

  "lease.granted": event<{ readonly lease: string; readonly fencing: number }>("info", "A lease was granted under a new fencing number."),
  "lease.released": event<{ readonly lease: string; readonly fencing: number }>("info", "A holder returned its lease."),
  "lease.reclaimed": event<{ readonly lease: string; readonly fencing: number; readonly reason: string }>(
    "warn",
    "A lease was freed because its holder is dead, or unknown past the TTL.",
  ),
  "lease.overdue": event<{ readonly lease: string; readonly fencing: number; readonly heldMs: DurationMs }>(
    "error",
    "A living holder keeps a lease past its TTL.",
  ),

  "loop.started": event<{
    readonly loop: string;
    readonly intervalMs: DurationMs;
    readonly enabled: boolean;
    readonly settings: Readonly<Record<string, unknown>>;
  }>("info", "A loop runs."),
  "loop.stopped": event<{ readonly loop: string; readonly clean: boolean }>("info", "A loop has stopped."),
  "loop.failed": event<{ readonly loop: string; readonly message: string }>("error", "A loop's tick failed; the loop goes on."),
  "loop.subject_failed": event<{ readonly loop: string; readonly subject: string; readonly message: string }>(
    "error",
    "One subject of a loop failed; the others were handled.",
  ),
  "loop.late": event<{ readonly loop: string; readonly sinceMs: DurationMs }>("error", "A loop has not finished a tick for five periods."),
  "loop.ticked": event<{
    readonly loop: string;
    readonly seen: number;
    readonly settled: number;
    readonly lost: number;
    readonly failed: number;
    readonly tookMs: DurationMs;
  }>("debug", "A loop finished a tick."),
  "outbox.dead_lettered": event<{ readonly id: number; readonly kind: string; readonly key: string; readonly error: string }>(
    "error",
    "A delivery was given up after its last attempt.",
  ),
  "disk.low": event<{
    readonly path: string;
    readonly freeBytes: number;
    readonly needBytes: number;
    readonly freeInodes: number | null;
    readonly needInodes: number;
  }>("error", "Free space, or the number of files that can still be made, is below its limit; nothing new is claimed."),
  "disk.recovered": event<{ readonly path: string; readonly freeBytes: number; readonly freeInodes: number | null }>(
    "warn",
    "Free disk is above the limits again.",
  ),
  "start.prevented": event<{ readonly queue: string | null; readonly code: string | null; readonly message: string }>(
    "error",
    "This machine lacks what a command needs to start. Its queue, or with a null queue every queue, is not claimed from here; nothing is spent.",
  ),
  "start.possible": event<{ readonly queue: string | null }>("warn", "A command was started there again; claims go on."),
  "path.hung": event<{ readonly point: string; readonly path: string; readonly afterMs: DurationMs; readonly helperPid: number | null }>(
    "error",
    "A foreign file system does not answer: what needs it waits, everything else goes on.",
  ),
  "path.answered": event<{ readonly point: string; readonly afterMs: DurationMs }>(
    "warn",
    "A foreign file system answers again; what waited for it goes on.",
  ),
  "retention.pruned": event<{ readonly jobs: number; readonly items: number; readonly runs: number; readonly duplicates: number }>(
    "info",
    "Old finished rows, logs and folders were removed.",
  ),
  /** Something a person must know; delivered through the outbox as well where it follows from a flip. */
  "alert.raised": event<{ readonly cause: string; readonly title: string; readonly details: Readonly<Record<string, unknown>> }>(
    "error",
    "Something a person must know.",
  ),
  "defect.found": event<{ readonly where: string; readonly message: string }>(
    "error",
    "An invariant of the program itself does not hold; please report it.",
  ),
};

export type EventName = keyof typeof eventCatalogue;

/** What events were called in earlier versions, for whoever searches old logs or adapts a rule of an alerting tool. */
export const formerEventNames = {
  "data_dir.closed": "data_dir.restricted",
  "data_dir.open": "data_dir.exposed",
  "item.rescued": "item.recovered",
  "worker.buried": "worker.dead",
} as const satisfies Readonly<Record<string, EventName>>;

/** What each event tells. */
export type WakefulEvents = { readonly [Name in EventName]: NonNullable<(typeof eventCatalogue)[Name]["data"]> };

/** One emitted event, as subscribers get it. */
export type EmittedEvent = {
  readonly [Name in EventName]: { readonly name: Name; readonly at: Instant; readonly data: WakefulEvents[Name] };
}[EventName];

export type Emit = <Name extends EventName>(name: Name, data: WakefulEvents[Name]) => void;
