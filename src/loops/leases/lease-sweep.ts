import { messageOf } from "../../domain/errors.ts";
import { addMs, type DurationMs, type Instant } from "../../domain/time.ts";
import { isSessionOver } from "../../liveness/death-proof.ts";
import { explainLease, judgeLease, type LeaseEvidence } from "../../liveness/lease-policy.ts";
import type { RaiseAlert } from "../../notify/raise-alert.ts";
import type { ProcessProbe } from "../../processes/probe/identity.ts";
import type { RunEnder } from "../../settling/run-ender.ts";
import type { HeldLease } from "../../store/port/leases.ts";
import type { LiveRun, RunScope } from "../../store/port/runs.ts";
import type { Store } from "../../store/port/store.ts";
import type { TickContext } from "../skeleton/loop.ts";

export interface LeaseSweepDeps {
  readonly store: Pick<Store, "leases" | "runs">;
  readonly probe: ProcessProbe;
  /** Read each tick. */
  readonly settings: () => {
    /** The sweep's own switch. */
    readonly reclaimEnabled: boolean;
    /** Lease names to sweep. Empty: all. */
    readonly scope: readonly string[];
    readonly deadAfterMs: DurationMs;
    /** Whose runs it ends when they hold a lease for too long. Absent: everybody's. */
    readonly whose?: RunScope | undefined;
  };
  readonly ender: Pick<RunEnder, "end">;
  readonly alert: RaiseAlert;
}

const pageSize = 500;

/** The second pass of the job-reaper's tick: frees what dead holders keep. Never throws; one lease's failure does not stop the others. */
export class LeaseSweep {
  readonly #deps: LeaseSweepDeps;
  #reclaimedTotal = 0;

  constructor(deps: LeaseSweepDeps) {
    this.#deps = deps;
  }

  get reclaimedTotal(): number {
    return this.#reclaimedTotal;
  }

  /**
   * Returns the number reclaimed; 0 with the switch off, which touches nothing.
   * @param would - in a dry run, collects what would have been done.
   */
  async sweep(context: TickContext, would: string[] = []): Promise<number> {
    let reclaimed = 0;
    try {
      const { reclaimEnabled, scope } = this.#deps.settings();
      if (!reclaimEnabled) return 0;
      let after: string | undefined;
      for (;;) {
        const held: readonly HeldLease[] = await this.#deps.store.leases.listHeld({
          limit: pageSize,
          scope: scope.length === 0 ? undefined : scope,
          after,
        });
        for (const lease of held) {
          try {
            if (await this.#judge(lease, context, would)) reclaimed++;
          } catch (thrown) {
            context.emit("loop.subject_failed", { loop: "lease-sweep", subject: `lease ${lease.name}`, message: messageOf(thrown) });
          }
        }
        after = held.at(-1)?.name;
        if (held.length < pageSize || context.signal.aborted) break;
      }
      if (!context.dryRun) await this.#deps.store.leases.tidyWaiters();
    } catch (thrown) {
      context.emit("loop.failed", { loop: "lease-sweep", message: messageOf(thrown) });
    }
    this.#reclaimedTotal += reclaimed;
    return reclaimed;
  }

  async #judge(lease: HeldLease, context: TickContext, would: string[]): Promise<boolean> {
    const { store, settings } = this.#deps;
    const facts = {
      grantedAt: lease.grantedAt,
      renewedAt: addMs(lease.expiresAt, -lease.ttlMs),
      ttlMs: lease.ttlMs,
      maxHoldMs: lease.maxHoldMs,
      alertedAt: lease.alertedAt ?? undefined,
    };
    const verdict = judgeLease(facts, this.#observe(lease, context.now), context.now);
    if (verdict.kind === "keep") return false;
    const message = explainLease(verdict);
    if (context.dryRun) {
      would.push(`lease ${lease.name}: ${message}`);
      return false;
    }
    const { name, fencing } = lease;
    switch (verdict.kind) {
      case "free": {
        const won = await store.leases.release({ name, fencing, actor: "lease-sweep", reason: message });
        if (won) context.emit("lease.reclaimed", { lease: name, fencing, reason: message });
        return won;
      }
      case "alert":
        await this.#tellOverdue(lease, message, context);
        return false;
      case "stop_then_free": {
        if (lease.holder.kind !== "run") {
          // Only a person may stop a process that a person started.
          await this.#tellOverdue(lease, message, context);
          return false;
        }
        const [run] = await store.runs.listLive([lease.holder.runId], settings().whose);
        if (run !== undefined) await this.#endHolder(run, `its lease ${name} was ${message}`, context.now);
        return false;
      }
    }
  }

  /** Ends the run first; the stopper ends its processes. */
  async #endHolder(run: LiveRun, message: string, judgedAt: Instant): Promise<void> {
    const failure = {
      outcome: { kind: "timed_out", reason: message },
      reason: "lease_held_too_long",
      evidence: { judgedAt, message },
      mayStillLive: true,
    } as const;
    await this.#deps.ender.end(run, failure, { actor: "lease-sweep", unlessLocked: true });
  }

  /** Alerts once per grant. The alert comes before the mark, so that a crash in between repeats it and never loses it. */
  async #tellOverdue(lease: HeldLease, message: string, context: TickContext): Promise<void> {
    if (lease.alertedAt !== null) return;
    const { name, fencing, holder } = lease;
    const heldMs = context.now - lease.grantedAt;
    const who = holder.kind === "run" ? `run ${holder.runId}` : `process ${holder.process.pid}`;
    await this.#deps.alert({
      cause: `lease.overdue:${name}:${fencing}`,
      title:
        `Lease ${name} is kept by ${who}: ${message}. The TTL takes nothing from a living holder: ask it, or take the lease away with ` +
        `\`wakeful leases release ${name}\``,
      details: { lease: name, fencing, heldMs, holder: who },
    });
    if (await this.#deps.store.leases.markAlerted({ name, fencing })) context.emit("lease.overdue", { lease: name, fencing, heldMs });
  }

  #observe(lease: HeldLease, now: Instant): LeaseEvidence {
    const { probe, settings } = this.#deps;
    if (lease.holder.kind === "process") {
      const life = probe.observe(lease.holder.process).kind;
      return { holder: life === "alive" || life === "dead" ? life : "unknown", stopping: false };
    }
    const { run } = lease;
    // Retention removes only rows of ended runs.
    if (run === null) return { holder: "dead", stopping: false };
    if (run.blocked) return { holder: "unknown", stopping: true };
    if (run.state === "ended") return { holder: "dead", stopping: false };
    // A run holds its lease until it is ended: with its wrapper dead its command may live, or its result is being merged under this lease.
    // Only the job-reaper's scan, which comes first, declares runs dead.
    const { supervisor } = run;
    const alive =
      (run.process !== null && probe.observe(run.process).kind === "alive") ||
      (supervisor !== null && probe.observe(supervisor.process).kind === "alive") ||
      (supervisor !== null && !isSessionOver(supervisor.state) && now - supervisor.lastHeardAt < settings().deadAfterMs);
    return { holder: alive ? "alive" : "unknown", stopping: false };
  }
}
