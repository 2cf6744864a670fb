import { messageOf } from "../../domain/errors.ts";
import type { HostId } from "../../domain/ids.ts";
import { ageMs, type DurationMs, type Instant, seconds } from "../../domain/time.ts";
import type { RaiseAlert } from "../../notify/raise-alert.ts";
import { hostLost } from "../../store/jobs/job-hold.ts";
import type { DaemonRow } from "../../store/port/daemons.ts";
import type { Store } from "../../store/port/store.ts";
import type { TickContext } from "../skeleton/loop.ts";

export interface LostHostsDeps {
  readonly store: Pick<Store, "items" | "jobs" | "daemons" | "upkeep" | "capabilities">;
  /** Of this daemon. */
  readonly hostId: HostId;
  readonly alert: RaiseAlert;
  /** How long a host may be silent. Read at each look. */
  readonly pinnedHostLostMs: () => DurationMs;
  /** Most jobs handled in one tick. */
  readonly jobsMax: number;
}

interface LostReport {
  readonly seen: number;
  readonly settled: number;
  readonly failed: number;
  readonly would: readonly string[];
}

/** A silence is believed when it is still there so long after it was first seen: a host that the store could not hear speaks up by then. */
const believedAfterMs: DurationMs = seconds(15);

/**
 * Holds what waits for a host that has been silent for too long, with one alert: nobody else has the files. Queues it again when the host is
 * back, which that host does itself.
 */
export class LostHosts {
  readonly #deps: LostHostsDeps;
  /** Since when each silent host is known to be. */
  readonly #silent = new Map<HostId, Instant>();
  readonly #told = new Set<HostId>();

  constructor(deps: LostHostsDeps) {
    this.#deps = deps;
  }

  async look(context: TickContext): Promise<LostReport> {
    const { store, hostId } = this.#deps;
    const report = { seen: 0, settled: 0, failed: 0, would: [] as string[] };
    // Where one daemon owns the store, there is no other host.
    if (!store.capabilities.manyWriters) return report;
    if (!context.dryRun) await this.#release(report, context);
    const rows = await store.daemons.list();
    // One of those that live holds and tells: of two each would tell.
    const first = rows.find(({ heardAt, endedAt }) => endedAt === null && ageMs(heardAt, context.now) < 2 * believedAfterMs);
    if (first !== undefined && first.process.hostId !== hostId) return report;
    const daemons = new Map(rows.map((row) => [row.process.hostId, row]));
    const pinnedTo = (await store.items.hostsOfUnfinished()).filter((id) => id !== hostId);
    for (const id of [...this.#silent.keys(), ...this.#told]) if (!pinnedTo.includes(id)) this.#forget(id);
    for (const id of pinnedTo) {
      const daemon = daemons.get(id);
      const heardAt = daemon?.heardAt ?? (await store.upkeep.daemonHeardAt(id));
      if (this.#isLost(id, heardAt, context.now)) await this.#hold(id, { daemon, heardAt }, report, context);
    }
    return report;
  }

  #isLost(id: HostId, heardAt: Instant | undefined, now: Instant): boolean {
    if (heardAt !== undefined && ageMs(heardAt, now) < this.#deps.pinnedHostLostMs()) {
      this.#forget(id);
      return false;
    }
    const since = this.#silent.get(id) ?? now;
    this.#silent.set(id, since);
    return ageMs(since, now) >= believedAfterMs;
  }

  #forget(id: HostId): void {
    this.#silent.delete(id);
    this.#told.delete(id);
  }

  /** What was held because this host was silent. */
  async #release(report: Counts, { emit }: TickContext): Promise<void> {
    const { store, hostId, jobsMax } = this.#deps;
    for (const jobId of await store.jobs.releaseForHost({ hostId, limit: jobsMax, actor: "reconciler" })) {
      report.settled += 1;
      emit("job.unheld", { jobId, actor: "reconciler" });
    }
  }

  async #hold(
    hostId: HostId,
    { daemon, heardAt }: { readonly daemon: DaemonRow | undefined; readonly heardAt: Instant | undefined },
    report: Counts,
    context: TickContext,
  ): Promise<void> {
    const { store, jobsMax } = this.#deps;
    const waiting = await store.jobs.listWaitingOn({ hostId, limit: jobsMax });
    if (waiting.length === 0) return;
    const place = daemon?.place ?? hostId;
    const since = heardAt === undefined ? "was never heard" : `was last heard at ${new Date(heardAt).toISOString()}`;
    const message = `the daemon of ${place}, which holds the files of the item, ${since}: start it again`;
    report.seen += waiting.length;
    if (context.dryRun) {
      report.would.push(...waiting.map(({ jobId }) => `job ${jobId}: hold it, because ${message}`));
      return;
    }
    // Before the jobs: a crash in between tells of what the next tick does.
    if (!this.#told.has(hostId) && (await this.#tell({ hostId, place, since, count: waiting.length }))) this.#told.add(hostId);
    for (const { jobId, itemId, pipeline, stage } of waiting) {
      const remedy = `${message}, or \`wakeful move item:${itemId} --host ...\` if its files are elsewhere now`;
      try {
        const answer = await store.jobs.hold(jobId, { actor: "reconciler", reason: hostLost, message: remedy });
        if (answer.kind !== "held") continue;
        report.settled += 1;
        context.emit("job.held", { jobId, queue: `${pipeline}/${stage}`, actor: "reconciler", reason: hostLost, message: remedy });
      } catch (thrown) {
        report.failed += 1;
        context.emit("loop.subject_failed", { loop: "reconciler", subject: `job ${jobId}`, message: messageOf(thrown) });
      }
    }
  }

  async #tell(lost: { readonly hostId: HostId; readonly place: string; readonly since: string; readonly count: number }): Promise<boolean> {
    const { hostId, place, since, count } = lost;
    const items = count === 1 ? "An item that needs its files is" : `${count} items that need its files are`;
    return await this.#deps.alert({
      cause: `host.lost:${hostId}`,
      title: `The daemon of ${place} ${since}. ${items} held until it is started again, or moved with \`wakeful move ITEM --host ...\``,
      details: { hostId, place, count },
    });
  }
}

interface Counts {
  seen: number;
  settled: number;
  failed: number;
  readonly would: string[];
}
