import type { RunId, WorkerId } from "../domain/ids.ts";
import type { Instant } from "../domain/time.ts";
import type { SessionReport } from "../liveness/evidence.ts";

interface Presence {
  readonly at: Instant;
  readonly held: ReadonlySet<RunId>;
  readonly claimSeqReceived: number;
}

/**
 * What each session last said that it holds, as heard by this daemon. In memory only: after a restart no run is named until the next
 * renewal, and the limits that count from then are longer than one.
 */
export class PresenceRegistry {
  readonly #presence = new Map<WorkerId, Presence>();

  heard(workerId: WorkerId, presence: { readonly at: Instant; readonly held: readonly RunId[]; readonly claimSeqReceived: number }): void {
    this.#presence.set(workerId, { at: presence.at, held: new Set(presence.held), claimSeqReceived: presence.claimSeqReceived });
  }

  /** The sessions that were heard here and are not forgotten. */
  sessions(): readonly WorkerId[] {
    return [...this.#presence.keys()];
  }

  hasHeard(workerId: WorkerId): boolean {
    return this.#presence.has(workerId);
  }

  forget(workerId: WorkerId): void {
    this.#presence.delete(workerId);
  }

  /** What the session says of a run that it claimed with `claimSeq`. */
  reportOn(run: {
    readonly runId: RunId;
    readonly workerId: WorkerId | null;
    readonly claimSeq: number;
    readonly reservedAt: Instant;
  }): SessionReport {
    const presence = run.workerId === null ? undefined : this.#presence.get(run.workerId);
    if (presence === undefined) return { kind: "notNamed", since: run.reservedAt };
    if (presence.held.has(run.runId)) return { kind: "holds", at: presence.at };
    // A claim whose answer the worker has not received says nothing. A received claim that it does not hold is lost.
    if (run.claimSeq <= presence.claimSeqReceived && presence.at > run.reservedAt) return { kind: "doesNotHold", at: presence.at };
    return { kind: "notNamed", since: run.reservedAt };
  }

  /** Whether the session has said, after `since`, that it does not hold the run. */
  hasLetGo(workerId: WorkerId, runId: RunId, since: Instant): boolean {
    const presence = this.#presence.get(workerId);
    return presence !== undefined && presence.at > since && !presence.held.has(runId);
  }
}
