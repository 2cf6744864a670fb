import type { LoopSettings, LoopSwitch } from "../../config/loop-settings.ts";
import { inSeconds } from "../../domain/durations.ts";
import { messageOf } from "../../domain/errors.ts";
import type { HostId, RunId, WorkerId } from "../../domain/ids.ts";
import { addMs, type DurationMs, type Instant, seconds } from "../../domain/time.ts";
import { isProvedDead } from "../../liveness/death-proof.ts";
import type { ProcessLife } from "../../liveness/evidence.ts";
import type { Outcome } from "../../liveness/retry-contract.ts";
import { spreadDelayMs } from "../../liveness/retry-delay.ts";
import { countTurnedSilent } from "../../liveness/vantage-mode.ts";
import { explainWorker, judgeWorker, type WorkerVerdict } from "../../liveness/worker-policy.ts";
import type { RaiseAlert, Tell } from "../../notify/raise-alert.ts";
import type { PresenceRegistry } from "../../observe/session-presence.ts";
import type { Host } from "../../processes/probe/host.ts";
import { type ProcessIdentity, sameProcess } from "../../processes/probe/identity.ts";
import type { Chance } from "../../runtime/entropy.ts";
import type { RunEnder } from "../../settling/run-ender.ts";
import type { HeldRun, LiveRun, LossProgress, LostEnd, RunScope } from "../../store/port/runs.ts";
import type { Store } from "../../store/port/store.ts";
import type { SessionPresence } from "../../store/port/workers.ts";
import type { ReapedRuns } from "../runs/reaped-runs.ts";
import type { Loop, TickContext, TickReport } from "../skeleton/loop.ts";
import type { LoopReports } from "../skeleton/loop-reports.ts";
import { type LoopParts, type LoopSpec, ownSwitch } from "../skeleton/loop-spec.ts";
import type { LoopWaker } from "../skeleton/loop-waker.ts";
import type { Watcher } from "../watch/watcher.ts";
import { EndedSessions } from "./ended-sessions.ts";
import type { KnownSessions } from "./known-sessions.ts";

export interface WorkerReaperDeps {
  readonly store: Pick<Store, "runs" | "workers" | "capabilities">;
  readonly host: Pick<Host, "probe">;
  readonly sessions: KnownSessions;
  readonly ender: RunEnder;
  readonly random: () => number;
  readonly alert: RaiseAlert;
  /** This process, and those of whose silence and death their parent here takes care itself. */
  readonly supervised: () => readonly ProcessIdentity[];
  readonly shared: WorkerReaperShared;
  readonly settings: () => WorkerReaperSettings;
  /** Has the job-reaper judge runs now: commands that outlived their session. */
  readonly wakeJobReaper: () => void;
}

interface WorkerReaperShared {
  readonly watcher: Watcher;
  readonly presence: PresenceRegistry;
  /** What this loop and the job-reaper have ended. */
  readonly reaped: ReapedRuns;
}

interface WorkerReaperSettings {
  /** False: sessions are judged, and what they held stays in running (B-10, B-12). */
  readonly recoversJobs: boolean;
  readonly deadAfterMs: DurationMs;
  readonly recoverySpreadMs: DurationMs;
  /** Whose runs it gives back one by one. Absent: everybody's. */
  readonly whose?: RunScope | undefined;
}

/**
 * A page is one transaction. On a blocking engine it holds the event loop for a few milliseconds, including the disk flush; elsewhere a
 * larger page saves round trips.
 */
const lostPageSize = { blocking: 50, elsewhere: 200 } as const;
/** Most runs ended in one tick; the next tick follows at once with the rest. */
const lostPerTick = 20_000;
/** Most runs of one tick with a warning each: 20,000 log lines would take longer than ending the runs. */
const toldPerTick = 100;
const pageSize = 500;

/** Runs that end with their session's process. Commands may live on, and an exit on record has a known outcome. */
const isLost = (run: HeldRun): boolean => run.kind === "handler" && run.state !== "exited";
const keyOf = (run: HeldRun): string => `${run.runId}/${run.ownerEpoch}`;

interface Hung {
  readonly worker: SessionPresence;
  readonly verdict: Extract<WorkerVerdict, { readonly reason: "alive_but_silent" }>;
}

/** What one tick saw of all sessions. */
interface Scope {
  /** Their number. */
  readonly alive: number;
  /** Sessions that are silent, or whose process is dead or unknown. */
  readonly doubtful: readonly { readonly worker: SessionPresence; readonly life: ProcessLife }[];
  /** Host ids under which two machines live. */
  readonly conflicts: ReadonlySet<HostId>;
  readonly now: Instant;
}

/** Judges sessions: one that is proved dead, or silent beyond doubt, is declared dead, and its runs are given back. */
export class WorkerReaper implements Loop<"worker-reaper"> {
  readonly name = "worker-reaper";
  readonly #deps: WorkerReaperDeps;
  readonly #ended: EndedSessions;
  readonly #deadOfSilence: { readonly lastHeardAt: Instant; readonly provedDead: false }[] = [];
  /** Runs handed to the job-reaper, by run and supervisor: it judges them by limits of its own, so once is enough. */
  #handedOver: ReadonlySet<string> = new Set();
  #deadTotal = 0;
  /** Silent sessions of `wakeful run` whose run the job-reaper was asked to look at. */
  readonly #leftToRuns = new Set<WorkerId>();
  /** Sessions whose process hangs, and of which people know. */
  #hung: ReadonlySet<WorkerId> = new Set();
  /** Progress of an event whose pages take more than one tick. */
  #event: LossProgress | undefined;

  constructor(deps: WorkerReaperDeps) {
    this.#deps = deps;
    this.#ended = new EndedSessions(deps.store.workers);
  }

  details(): LoopReports["worker-reaper"] {
    return { deadTotal: this.#deadTotal, hung: [...this.#hung] };
  }

  async tick(context: TickContext): Promise<TickReport> {
    const { store, host } = this.#deps;
    const { deadAfterMs } = this.#deps.settings();
    const silentSince = addMs(context.now, -deadAfterMs);
    const { alive, sessions } = await this.#deps.sessions.look(context.now);
    const lives = host.probe.observeMany(sessions.map(({ process }) => process));
    // A session that was heard in time ends only by a dead process. Most are heard, so few need judging.
    const doubtful = sessions
      .map((worker, at) => ({ worker, life: lives[at]?.kind ?? "unknown" }))
      .filter(({ worker, life }) => life === "dead" || worker.lastHeardAt <= silentSince);
    const conflicts: ReadonlySet<HostId> = doubtful.length === 0 ? new Set() : new Set(await store.workers.listHostConflicts(silentSince));
    this.#observeScope({ alive, doubtful, conflicts, now: context.now });
    const would: string[] = [];
    let dead = 0;
    let lost = 0;
    const hung: Hung[] = [];
    const supervised = doubtful.length === 0 ? [] : this.#deps.supervised();
    const view = this.#deps.shared.watcher.view("workers");
    for (const { worker, life } of doubtful) {
      if (supervised.some((own) => sameProcess(own, worker.process))) continue;
      const verdict = judgeWorker(
        { heardAt: worker.lastHeardAt, channel: "throughMe" },
        { process: { pid: worker.process.pid, life }, hostConflict: conflicts.has(worker.process.hostId) },
        { deadAfterMs },
        view,
        context.now,
      );
      if (verdict.reason === "alive_but_silent") hung.push({ worker, verdict });
      if (verdict.kind !== "dead") continue;
      if (context.dryRun) {
        would.push(`worker ${worker.id}: ${explainWorker(verdict)}`);
        continue;
      }
      if (verdict.reason === "silent" && (await this.#livesByItsRun(worker.id, context))) continue;
      if (await this.#declareDead(worker, verdict, context)) dead++;
      else lost++;
    }
    if (context.dryRun) return { seen: alive, settled: 0, lost: 0, failed: 0, would };
    await this.#tellOfHung(hung, context);
    const given = await this.#giveBack(context);
    return { seen: alive, settled: dead + given.settled, lost, failed: given.failed, nextInMs: given.more ? 0 : undefined };
  }

  #observeScope({ alive, doubtful, conflicts, now }: Scope): void {
    const { watcher } = this.#deps.shared;
    const { deadAfterMs } = this.#deps.settings();
    const subjects = doubtful
      .filter(({ worker }) => now - worker.lastHeardAt >= deadAfterMs)
      .map(({ worker: { lastHeardAt, process }, life }) => {
        const hostConflict = conflicts.has(process.hostId);
        return { lastHeardAt, provedDead: isProvedDead({ life, heardAt: lastHeardAt, hostConflict }, { deadAfterMs }, now) };
      });
    while (this.#deadOfSilence[0] !== undefined && now - this.#deadOfSilence[0].lastHeardAt > 2 * deadAfterMs) this.#deadOfSilence.shift();
    const turnedSilent = countTurnedSilent([...subjects, ...this.#deadOfSilence], { limitMs: deadAfterMs, now });
    watcher.observe({ scope: "workers", total: alive, turnedSilent, canary: "unknown", now });
  }

  /** Once per silence: a process that lives is never seized by silence, so a person has to look. */
  async #tellOfHung(found: readonly Hung[], { emit }: TickContext): Promise<void> {
    const told = new Set<WorkerId>();
    for (const { worker, verdict } of found) {
      const { id: workerId, process } = worker;
      const { pid } = process;
      const { silentMs, limitMs } = verdict;
      const title =
        `Worker ${workerId} (pid ${pid}) has said nothing for ${inSeconds(silentMs)} though it lives: what it holds waits for it. ` +
        `Continue it (\`kill -CONT ${pid}\`), give its machine room, or end it, and its work goes to others`;
      if (
        this.#hung.has(workerId) ||
        (await this.#deps.alert({ cause: `worker_hung:${workerId}`, title, details: { workerId, pid, silentMs, limitMs } }))
      ) {
        if (!this.#hung.has(workerId)) emit("worker.hung", { workerId, pid, silentMs, limitMs, killed: false });
        told.add(workerId);
      }
    }
    this.#hung = told;
  }

  /**
   * A session of `wakeful run` ends with its run, which the job-reaper judges by the run's own evidence: it may be stopped in a terminal, and
   * its command with it.
   */
  async #livesByItsRun(workerId: WorkerId, { now }: TickContext): Promise<boolean> {
    const { store, wakeJobReaper } = this.#deps;
    if ((await store.workers.get(workerId))?.kind !== "run") return false;
    const [held] = await store.runs.listHeld({ workerIds: [workerId], limit: 1 });
    if (held === undefined) return false;
    if (this.#leftToRuns.has(workerId)) return true;
    this.#leftToRuns.add(workerId);
    await store.runs.moveChecks([{ runId: held.runId, ownerEpoch: held.ownerEpoch, checkAt: now }]);
    wakeJobReaper();
    return true;
  }

  async #declareDead(worker: SessionPresence, verdict: Extract<WorkerVerdict, { kind: "dead" }>, context: TickContext): Promise<boolean> {
    const message = explainWorker(verdict);
    const evidence = JSON.stringify({ verdict, lastHeardAt: worker.lastHeardAt, process: worker.process, judgedAt: context.now });
    const won = await this.#deps.store.workers.declareDead(worker.id, { reason: verdict.reason, message, evidence, actor: this.name });
    if (!won) return false;
    this.#deadTotal++;
    this.#leftToRuns.delete(worker.id);
    this.#deps.shared.presence.forget(worker.id);
    if (verdict.reason === "silent") this.#deadOfSilence.push({ lastHeardAt: worker.lastHeardAt, provedDead: false });
    context.emit("worker.dead", { workerId: worker.id, reason: verdict.reason, message });
    return true;
  }

  /** Gives back what ended sessions held. Starts from the store, so that a crash after a verdict loses nothing. */
  async #giveBack(context: TickContext): Promise<{ readonly settled: number; readonly failed: number; readonly more: boolean }> {
    const { store, ender, random, shared } = this.#deps;
    if (!this.#deps.settings().recoversJobs) return { settled: 0, failed: 0, more: false };
    const ended = await this.#ended.holding(context.now);
    if (ended.length === 0) return { settled: 0, failed: 0, more: false };
    const limit = store.capabilities.blocksEventLoop ? lostPageSize.blocking : lostPageSize.elsewhere;
    let settled = 0;
    let pages = 0;
    let more = true;
    const { recoverySpreadMs } = this.#deps.settings();
    while (more && pages * limit < lostPerTick && !context.signal.aborted) {
      const room = Math.max(0, toldPerTick - settled);
      const page = await ender.endLostPage(
        {
          workerIds: ended,
          limit,
          reason: "session_dead",
          actor: this.name,
          recoverySpreadMs,
          random,
          event: this.#event,
        },
        room,
      );
      this.#event = page.event;
      await this.#tellOfPage(page.ended, room, context);
      settled += page.settled;
      more = page.more;
      pages++;
      // Timers, requests and heartbeats run between two pages.
      await new Promise((resolve) => setImmediate(resolve));
    }
    shared.reaped.tellOfRest({ reason: "session_dead", actor: this.name }, context.emit);
    // The next tick continues the event.
    if (more) return { settled, failed: 0, more };
    const before = this.#event ?? { index: 0, total: 0 };
    this.#event = undefined;
    const others = await this.#giveBackOthers(ended, before, context);
    return { settled: settled + others.settled, failed: others.failed, more };
  }

  /** @param room - how many more runs may have a warning of their own. */
  async #tellOfPage(ended: readonly LostEnd[], room: number, { emit }: TickContext): Promise<void> {
    const { reaped } = this.#deps.shared;
    const pids = new Map<WorkerId, number | null>();
    for (const [at, run] of ended.entries()) {
      if (at >= room) {
        reaped.addOneOfMany(run);
        continue;
      }
      const { workerId } = run;
      if (workerId !== null && !pids.has(workerId)) pids.set(workerId, await this.#pidOf(workerId));
      reaped.add({ ...run, pid: workerId === null ? null : (pids.get(workerId) ?? null) }, emit);
    }
  }

  async #pidOf(workerId: WorkerId): Promise<number | null> {
    try {
      return (await this.#deps.store.workers.get(workerId))?.process.pid ?? null;
    } catch {
      // Details of the warning are missing; the runs have ended all the same.
      return null;
    }
  }

  /** Runs that the set-based page skips: runs of items, which have a pipeline's policy, and commands, which may live on. */
  async #giveBackOthers(
    workerIds: readonly WorkerId[],
    before: LossProgress,
    context: TickContext,
  ): Promise<{ readonly settled: number; readonly failed: number }> {
    const lost = await this.#sortOut(workerIds, context);
    const total = before.total + lost.length;
    let { index } = before;
    let settled = 0;
    let failed = 0;
    for (let from = 0; from < lost.length; from += pageSize) {
      for (const run of await this.#deps.store.runs.listLive(lost.slice(from, from + pageSize))) {
        // The next tick of any daemon finds the rest: it starts from the store.
        if (context.signal.aborted) return { settled, failed };
        try {
          if (await this.#settleLost(run, { index: index++, total }, context)) settled++;
        } catch (thrown) {
          failed++;
          context.emit("loop.subject_failed", { loop: this.name, subject: `job ${run.jobId}`, message: messageOf(thrown) });
        }
      }
    }
    return { settled, failed };
  }

  /** Returns the lost runs of the whole event, and hands the others to the job-reaper. */
  async #sortOut(workerIds: readonly WorkerId[], context: TickContext): Promise<readonly RunId[]> {
    const { store, settings } = this.#deps;
    const only = settings().whose?.only;
    let after: { readonly workerId: WorkerId; readonly runId: RunId } | undefined;
    const lost: RunId[] = [];
    const handed = new Set<string>();
    for (;;) {
      const runs: readonly HeldRun[] = await store.runs.listHeld({ only, workerIds, limit: pageSize, after });
      const others = runs.filter((run) => !isLost(run));
      const fresh = others.filter((run) => !this.#handedOver.has(keyOf(run)));
      const moved =
        fresh.length === 0
          ? []
          : await store.runs.moveChecks(fresh.map(({ runId, ownerEpoch }) => ({ runId, ownerEpoch, checkAt: context.now })));
      if (moved.length > 0) this.#deps.wakeJobReaper();
      // Locked rows are retried next tick (decision 0013).
      const missed = new Set(fresh.map(({ runId }) => runId));
      for (const runId of moved) missed.delete(runId);
      for (const run of others) if (!missed.has(run.runId)) handed.add(keyOf(run));
      lost.push(...runs.filter(isLost).map((run) => run.runId));
      const last = runs.at(-1);
      if (runs.length < pageSize || last === undefined) {
        this.#handedOver = handed;
        return lost;
      }
      after = { workerId: last.workerId, runId: last.runId };
    }
  }

  async #settleLost(run: LiveRun, at: LossProgress, context: TickContext): Promise<boolean> {
    const { ender, shared } = this.#deps;
    const { recoverySpreadMs } = this.#deps.settings();
    const pid = run.supervisor?.process.pid;
    const outcome: Outcome =
      run.state === "reserved"
        ? { kind: "never_started", reason: "never started: its worker is dead", bySessionDeath: true }
        : { kind: "lost", reason: `its worker is dead${pid === undefined ? "" : ` (pid ${pid})`}` };
    const evidence = { judgedAt: context.now, worker: run.supervisor, startedAt: run.startedAt };
    const spreadMs = spreadDelayMs({ ...at, recoverySpreadMs });
    const ended = await ender.end(run, { outcome, reason: "session_dead", evidence, spreadMs }, { actor: this.name, unlessLocked: true });
    if (ended.kind !== "ended") return false;
    const { id: runId, jobId, queue, agent, repo } = run;
    shared.reaped.add({ ...ended, runId, jobId, queue, agent, repo, pid: pid ?? null }, context.emit);
    return true;
  }
}

/** What a process that runs the worker-reaper builds it of. */
export interface WorkerReaperParts extends LoopParts, Pick<WorkerReaperDeps, "store" | "host"> {
  readonly shared: WorkerReaperShared & {
    readonly sessions: KnownSessions;
    readonly waker: Pick<LoopWaker, "wake">;
    readonly whose: () => RunScope | undefined;
  };
  readonly settling: { readonly ender: RunEnder };
  readonly tell: Pick<Tell, "alert">;
  readonly work: Pick<WorkerReaperDeps, "supervised">;
  readonly chance: Pick<Chance, "random">;
  readonly settings: () => LoopSwitch<"worker-reaper"> &
    Pick<LoopSettings, "reaper" | "recovery"> & { readonly worker: Pick<LoopSettings["worker"], "deadAfterMs"> };
}

export const workerReaperSpec: LoopSpec<"worker-reaper", WorkerReaperParts, WorkerReaper> = {
  name: "worker-reaper",
  kind: "guarded",
  intervalMs: () => seconds(1),
  enabled: ownSwitch("worker-reaper"),
  wokenBy: ["workers"],
  build: ({ store, host, shared, settling, tell, work, chance, settings }) =>
    new WorkerReaper({
      store,
      host,
      shared,
      sessions: shared.sessions,
      ender: settling.ender,
      random: chance.random,
      alert: tell.alert,
      supervised: work.supervised,
      wakeJobReaper: () => shared.waker.wake("job-reaper"),
      settings: () => {
        const { reaper, recovery, worker } = settings();
        return {
          recoversJobs: reaper.enabled,
          deadAfterMs: worker.deadAfterMs,
          recoverySpreadMs: recovery.recoverySpreadMs,
          whose: shared.whose(),
        };
      },
    }),
};
