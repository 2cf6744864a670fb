import type { HostId } from "../../domain/ids.ts";
import { addMs, type DurationMs, type Instant } from "../../domain/time.ts";
import type { RaiseAlert } from "../../notify/raise-alert.ts";
import type { Store } from "../../store/port/store.ts";
import type { TickContext } from "../skeleton/loop.ts";

/** Since when a host is seen as two, and whether that was told. */
interface Conflict {
  readonly since: Instant;
  told: boolean;
}

/** The share of `deadAfterMs` after which a tick without a run looks again: the statement reads every living session. */
const idleShare = 3;

/**
 * Hosts that turned out to be two: live sessions of one host id and several boot ids. No pid evidence of either is used from the first look
 * on. A machine that has just rebooted looks the same until its old sessions have been silent for `deadAfterMs`: a person is told of what
 * lasts longer, once.
 */
export class HostConflicts {
  readonly #alert: RaiseAlert;
  #seen: ReadonlyMap<HostId, Conflict> = new Map();
  #lookedAt: Instant | undefined;

  constructor({ alert }: { readonly alert: RaiseAlert }) {
    this.#alert = alert;
  }

  /**
   * The hosts whose pids tell nothing in this tick.
   *
   * @param judged - how many runs the tick judges. With none it only has to tell of conflicts, which need not be seen at once.
   */
  async look(
    workers: Pick<Store["workers"], "listHostConflicts">,
    { deadAfterMs, judged }: { readonly deadAfterMs: DurationMs; readonly judged: number },
    context: TickContext,
  ): Promise<ReadonlySet<HostId>> {
    const { now, dryRun } = context;
    const sinceMs = this.#lookedAt === undefined ? Number.NaN : now - this.#lookedAt;
    if (judged === 0 && sinceMs >= 0 && sinceMs < deadAfterMs / idleShare) return new Set(this.#seen.keys());
    const hosts = await workers.listHostConflicts(addMs(now, -deadAfterMs));
    // A look that may do nothing tells nobody, and a later one still must.
    if (dryRun) return new Set(hosts);
    this.#lookedAt = now;
    this.#seen = new Map(hosts.map((hostId) => [hostId, this.#seen.get(hostId) ?? { since: now, told: false }]));
    for (const [hostId, conflict] of this.#seen) {
      if (conflict.told || now - conflict.since <= deadAfterMs) continue;
      conflict.told = true;
      context.emit("host.conflict_found", { hostId });
      await this.#alert({
        cause: `host_conflict:${hostId}`,
        title:
          `Host ${hostId} is two machines, one cloned from the other: none of their pids is trusted, so what dies on them is found by silence ` +
          "alone. Stop the daemon of the clone, remove `host-id` from its data directory, and start it again",
        details: { hostId },
      });
    }
    return new Set(hosts);
  }
}
