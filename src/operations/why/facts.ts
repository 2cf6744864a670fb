import type { WorkerId } from "../../domain/ids.ts";
import type { DurationMs, Instant } from "../../domain/time.ts";
import type { ItemRow, VisitRow } from "../../store/port/items.ts";
import type { JobRow } from "../../store/port/jobs.ts";
import type { ActionRow } from "../../store/port/records.ts";
import type { RunRow } from "../../store/port/runs.ts";
import type { WorkerRow } from "../../store/port/workers.ts";

/** Everything that a story is told from: gathering reads, telling is pure. */
export interface StoryFacts {
  readonly now: Instant;
  readonly subject:
    | { readonly kind: "job" | "item"; readonly id: number }
    | { readonly kind: "run"; readonly id: number; readonly attempt: number; readonly jobId: number };
  readonly item: ItemRow | undefined;
  readonly visits: readonly VisitRow[];
  /** Oldest first. */
  readonly jobs: readonly JobFacts[];
  readonly workers: ReadonlyMap<WorkerId, WorkerRow>;
  /** Oldest first. */
  readonly actions: readonly ActionRow[];
  /** Why the daemon takes no new work now; empty when it does. */
  readonly notReady: readonly string[];
  /** Why it starts nothing of a queue, by its name, while others go on. */
  readonly heldBack: ReadonlyMap<string, string>;
}

export interface JobFacts {
  readonly job: JobRow;
  /** Oldest first. */
  readonly runs: readonly RunRow[];
  /** Absent for a job that has ended, which waits for nothing. */
  readonly waiting: WaitingFacts | undefined;
  /** The stage of its item that this daemon does not declare; absent for a task, and for a declared stage. */
  readonly undeclared?: { readonly pipeline: string; readonly stage: string } | undefined;
  /** How long an unreadable gate of its stage is read again. */
  readonly gatePatienceMs: DurationMs | undefined;
  /** The age at which runs without a limit of their own are given up; absent where the settings are not known. */
  readonly maxRunningMs?: DurationMs | undefined;
  /** Workers that are silent while their process lives, as this daemon's worker-reaper saw. */
  readonly hungWorkers?: readonly WorkerId[] | undefined;
  /** What this daemon's stopper found left, at its last attempt, of the run that the job waits for. */
  readonly remains?: string | undefined;
}

export interface WaitingFacts {
  readonly queuePaused: boolean;
  /** Live workers that claim from its queue. */
  readonly servedBy: readonly WorkerRow[];
  /** Where the files of its item are, and when the daemon there was last heard. Absent: it is pinned to no other daemon's host. */
  readonly filesAt?: { readonly place: string; readonly heardAt: Instant | null } | undefined;
  /** The paused ones among them. `since`: null where it is not on record. */
  readonly pausedWorkers?: readonly { readonly id: WorkerId; readonly name: string; readonly since: Instant | null }[];
  readonly slot:
    | { readonly key: string; readonly capacity: number; readonly used: number; readonly holders: readonly SlotHolder[] }
    | undefined;
  /** Jobs of its queue that are claimed before it. */
  readonly ahead: number;
  /** Whether `ahead` is exact rather than the number at which counting stopped. */
  readonly aheadIsExact: boolean;
}

export interface SlotHolder {
  readonly jobId: number;
  readonly attempt: number;
  /** Its run has ended and its process is still being stopped. */
  readonly stopping: boolean;
}
