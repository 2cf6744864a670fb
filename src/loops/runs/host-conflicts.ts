import type { HostId } from "../../domain/ids.ts";
import { addMs, type DurationMs, type Instant } from "../../domain/time.ts";
import type { RaiseAlert } from "../../notify/raise-alert.ts";
import type { Store } from "../../store/port/store.ts";
import type { TickContext } from "../skeleton/loop.ts";

/** When the conflict was first seen, and whether an alert was raised. */
interface Conflict {
  readonly since: Instant;
  told: boolean;
}

/** With no run to judge, a tick looks again only after this share of `deadAfterMs`: the statement reads every living session. */
const idleShare = 3;

/**
 * Finds host ids with live sessions of several boot ids: cloned machines, whose pids prove nothing. A rebooted machine looks the same until
 * its old sessions fall silent, so an alert waits for `deadAfterMs` (decision 0012).
 */
export class HostConflicts {
  readonly #alert: RaiseAlert;
  #seen: ReadonlyMap<HostId, Conflict> = new Map();
  #lookedAt: Instant | undefined;

  constructor({ alert }: { readonly alert: RaiseAlert }) {
    this.#alert = alert;
  }

  /**
   * The hosts whose pids prove nothing in this tick.
   * @param judged - how many runs the tick judges. With none, the look only serves the alert, which can wait.
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
    // A dry run alerts nobody, so that a later tick still does.
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
