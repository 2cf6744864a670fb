import { WakefulError } from "../../domain/errors.ts";
import type { HostId, WorkerId } from "../../domain/ids.ts";
import { isSessionOver } from "../../liveness/death-proof.ts";
import type { Fence } from "../../store/port/runs.ts";
import type { Store } from "../../store/port/store.ts";
import type { WorkerRow } from "../../store/port/workers.ts";
import { HeldWork } from "./held-work.ts";

/** A session as the service remembers it between two questions to the store. */
export interface WorkerSession {
  readonly workerId: WorkerId;
  readonly kind: WorkerRow["kind"];
  readonly hostId: HostId;
  readonly work: HeldWork;
}

/** A session that may write nothing more, and why. */
export interface SessionOver {
  readonly workerId: WorkerId;
  readonly over: string;
}

/** Who calls, and what it may. */
export interface Caller {
  /** False while nothing new may be claimed, such as on a full disk. Default: always true. */
  readonly mayClaim?: () => boolean;
  /** Sessions opened elsewhere, or before this process began, that are the caller's all the same. Default: none. */
  readonly admits?: (session: WorkerRow) => boolean;
}

/** Speaks for all runs of `wakeful run`: their command lines go on under the next daemon. */
export const foregroundCaller: Caller = { admits: ({ kind }) => kind === "run" };

/** The sessions for which one caller may speak. */
export class CallerSessions {
  readonly #admits: Caller["admits"];
  readonly #store: Pick<Store, "runs" | "workers" | "onHint">;
  readonly #own = new Set<WorkerId>();
  readonly #sessions = new Map<WorkerId, WorkerSession>();
  /** Sessions began or ended since the store was asked about these, so they may be over. */
  readonly #doubtful = new Set<WorkerId>();
  readonly #stopListening: () => void;

  constructor(caller: Caller, store: Pick<Store, "runs" | "workers" | "onHint">) {
    this.#admits = caller.admits;
    this.#store = store;
    this.#stopListening = store.onHint((hint) => {
      if (hint === "workers") for (const workerId of this.#sessions.keys()) this.#doubtful.add(workerId);
    });
  }

  close(): void {
    this.#stopListening();
    this.#sessions.clear();
    this.#own.clear();
  }

  opened(workerId: WorkerId, worker: Pick<WorkerRow, "kind" | "process">): void {
    this.#own.add(workerId);
    this.#remember(workerId, worker);
  }

  ended(workerId: WorkerId): void {
    this.#sessions.delete(workerId);
    this.#doubtful.delete(workerId);
  }

  /** Whether it is over is left to the store, which checks in the same transaction. */
  remembered(workerId: WorkerId): WorkerSession | undefined {
    return this.#sessions.get(workerId);
  }

  /** Answered without asking the store, so that what follows shares the transaction of this turn. Undefined: ask {@link find}. */
  known(workerId: WorkerId): WorkerSession | undefined {
    return this.#doubtful.has(workerId) ? undefined : this.#sessions.get(workerId);
  }

  /**
   * The session as the store has it now.
   *
   * @throws {WakefulError} `not_found`; `forbidden`: it is another caller's.
   */
  async find(workerId: WorkerId): Promise<WorkerSession | SessionOver> {
    this.#doubtful.delete(workerId);
    const row = await this.#store.workers.get(workerId);
    if (row === undefined && this.#own.has(workerId)) return this.#over(workerId, "its session is unknown to the store");
    if (row === undefined) throw new WakefulError("not_found", `There is no session ${workerId}.`, { details: { workerId } });
    if (!this.#own.has(workerId) && this.#admits?.(row) !== true)
      throw new WakefulError("forbidden", `Session ${workerId} is another worker's.`, { details: { workerId } });
    if (isSessionOver(row.state)) return this.#over(workerId, `its session is ${row.state}`);
    return this.#sessions.get(workerId) ?? this.#remember(workerId, row);
  }

  /** Those that are not about a live run of this session under its fence. Undefined: none, as far as is remembered. */
  async strangersIn<Word extends Fence>(session: WorkerSession, words: readonly Word[]): Promise<ReadonlySet<Word> | undefined> {
    const unknown = words.filter((word) => session.work.of(word) === undefined);
    if (unknown.length === 0) return undefined;
    const live = new Map((await this.#store.runs.listLive(unknown.map(({ runId }) => runId))).map((run) => [run.id, run]));
    return new Set(
      unknown.filter(({ runId, ownerEpoch }) => {
        const run = live.get(runId);
        return run?.workerId !== session.workerId || run.ownerEpoch !== ownerEpoch;
      }),
    );
  }

  #over(workerId: WorkerId, over: string): SessionOver {
    this.ended(workerId);
    return { workerId, over };
  }

  #remember(workerId: WorkerId, { kind, process }: Pick<WorkerRow, "kind" | "process">): WorkerSession {
    const session: WorkerSession = { workerId, kind, hostId: process.hostId, work: new HeldWork() };
    this.#sessions.set(workerId, session);
    return session;
  }
}
