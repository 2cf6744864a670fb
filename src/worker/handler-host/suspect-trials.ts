import type { JobId, OwnerEpoch, RunId, WorkerId } from "../../domain/ids.ts";
import { addMs, type DurationMs, seconds } from "../../domain/time.ts";
import type { Tell } from "../../notify/raise-alert.ts";
import type { ProcessIdentity } from "../../processes/probe/identity.ts";
import type { RunEnder } from "../../settling/run-ender.ts";
import type { Store } from "../../store/port/store.ts";
import type { ClaimedWork, WorkerBackend } from "../worker-backend.ts";
import { isSuspicious, suspectReason } from "./host-runs.ts";

/** What a host's calls pass on their way to the worker service. */
export type HostVerbs = (worker: WorkerBackend) => Partial<Pick<WorkerBackend, "claim" | "renew" | "end" | "reading">>;

/** A handler host of one life, for one run. */
export interface TrialHost {
  start(): Promise<void>;
  /** Has it end once what it does is done. */
  dismiss(): void;
  stop(mode: "abort" | "drain"): Promise<void>;
  kill(): void;
  identities(): readonly ProcessIdentity[];
}

export interface SuspectTrialsOptions {
  readonly store: { readonly runs: Pick<Store["runs"], "ofJob" | "takeOver" | "listLive">; now(): ReturnType<Store["now"]> };
  readonly ender: Pick<RunEnder, "endAll">;
  readonly tell: Tell;
  /** Trials at once, each a process. At least 1. */
  readonly atOnce: number;
  readonly open: (alone: { readonly verbs: HostVerbs; readonly onOver: () => void }) => TrialHost;
}

const actor = "handler-host";
/** How soon a suspect without a place is claimed again; so much more for each that waits before it. */
const turnMs: DurationMs = seconds(5);
/** When its judge first looks at a run that has changed its session. */
const checkAfterMs: DurationMs = seconds(30);

/**
 * Jobs in whose run a handler host died or hung are tried in a process of their own: who did it dies alone, and nobody else waits or spends.
 * The newest run's reason says who is suspect.
 */
export class SuspectTrials {
  readonly #options: SuspectTrialsOptions;
  readonly #hosts = new Map<RunId, TrialHost>();
  /** Claimed by the shared host's session, and not yet their own host's: the shared one names them meanwhile. */
  readonly #moving = new Set<RunId>();
  #stopped = false;
  /** Suspects that found no place lately. */
  #turnedAway = 0;

  constructor(options: SuspectTrialsOptions) {
    this.#options = options;
  }

  identities(): readonly ProcessIdentity[] {
    return [...this.#hosts.values()].flatMap((host) => host.identities());
  }

  /** No other suspect is tried. */
  async stop(mode: "abort" | "drain"): Promise<void> {
    this.#stopped = true;
    await Promise.all([...this.#hosts.values()].map((host) => host.stop(mode)));
  }

  kill(): void {
    for (const host of this.#hosts.values()) host.kill();
  }

  /** Keeps suspects from the shared host. */
  readonly verbsOfShared: HostVerbs = (worker) => ({
    claim: async (request) => await this.#withoutSuspects(await worker.claim(request)),
    renew: async (renewal) =>
      await worker.renew(this.#moving.size === 0 ? renewal : { ...renewal, held: [...renewal.held, ...this.#moving] }),
  });

  async #withoutSuspects(claimed: readonly ClaimedWork[]): Promise<readonly ClaimedWork[]> {
    // Nearly always none was tried before, which costs no question.
    if (claimed.every(({ attempt }) => attempt === 1)) return claimed;
    const innocent: ClaimedWork[] = [];
    for (const work of claimed) {
      if (work.attempt === 1 || !(await this.#isSuspect(work))) innocent.push(work);
      // The same claim, asked again, answers the same runs.
      else if (!this.#hosts.has(work.runId)) await this.#try(work);
    }
    return innocent;
  }

  async #isSuspect({ jobId, runId }: { readonly jobId: JobId; readonly runId: RunId }): Promise<boolean> {
    const earlier = (await this.#options.store.runs.ofJob(jobId)).filter(({ id, state }) => id !== runId && state === "ended");
    const newest = earlier.reduce((a, b) => (a === undefined || b.attempt > a.attempt ? b : a), earlier[0]);
    return newest?.reason !== undefined && newest.reason !== null && isSuspicious(newest.reason);
  }

  async #try(work: ClaimedWork): Promise<void> {
    const { atOnce, open } = this.#options;
    if (this.#stopped || this.#hosts.size >= atOnce) {
      this.#turnedAway++;
      await this.#giveBack(work.runId, turnMs * (1 + Math.floor(this.#turnedAway / atOnce)));
      return;
    }
    this.#moving.add(work.runId);
    const host: TrialHost = open({
      verbs: (worker) => this.#verbsOfTrial(worker, work, () => host.dismiss()),
      onOver: () => this.#over(work.runId),
    });
    this.#hosts.set(work.runId, host);
    // Beside the claim, whose other runs do not wait for a process to start.
    void host.start();
  }

  /** Its only claim is answered with the run that it is for. It ends when that run is over for it. */
  #verbsOfTrial(worker: WorkerBackend, work: ClaimedWork, dismiss: () => void): ReturnType<HostVerbs> {
    const { runId } = work;
    let answered: { readonly claimId: string; readonly runs: readonly ClaimedWork[] } | undefined;
    let isNamed = false;
    return {
      claim: async ({ claimId, workerId }) => {
        answered ??= { claimId, runs: await this.#moveTo(workerId, work) };
        if (answered.runs.length === 0) dismiss();
        return claimId === answered.claimId ? answered.runs : [];
      },
      renew: async (renewal) => {
        const holds = renewal.held.includes(runId);
        const isOnItsWay = answered !== undefined && answered.runs.length > 0 && !isNamed && !holds;
        const answer = await worker.renew(isOnItsWay ? { ...renewal, held: [...renewal.held, runId] } : renewal);
        if (isNamed && !holds) dismiss();
        isNamed ||= holds;
        return answer;
      },
      end: async (workerId, reports) => {
        const answers = await worker.end(workerId, reports);
        if (answers.some(({ kind }) => kind !== "read" && kind !== "early")) dismiss();
        return answers;
      },
      reading: async (workerId, reading) => {
        const answer = await worker.reading(workerId, reading);
        if (answer.kind !== "read") dismiss();
        return answer;
      },
    };
  }

  async #moveTo(workerId: WorkerId, work: ClaimedWork): Promise<readonly ClaimedWork[]> {
    const { store } = this.#options;
    const { runId, ownerEpoch } = work;
    const checkAt = addMs(store.now(), checkAfterMs);
    const taken: OwnerEpoch | undefined = await store.runs.takeOver({ runId, ownerEpoch, workerId, actor, reason: "tried_alone", checkAt });
    this.#moving.delete(runId);
    return taken === undefined ? [] : [{ ...work, ownerEpoch: taken }];
  }

  #over(runId: RunId): void {
    this.#hosts.delete(runId);
    this.#turnedAway = Math.max(0, this.#turnedAway - 1);
    // Its host never got as far as to take it.
    if (this.#moving.delete(runId)) void this.#giveBack(runId, turnMs);
  }

  /** Unspent, and still suspect. What cannot be written is named by nobody, so its judge gives it back. */
  async #giveBack(runId: RunId, spreadMs: DurationMs): Promise<void> {
    const { store, ender, tell } = this.#options;
    try {
      const [run] = await store.runs.listLive([runId]);
      if (run === undefined) return;
      const outcome = { kind: "released", reason: "its handler process died before; it waits for a process of its own" } as const;
      await ender.endAll([{ run, failure: { outcome, reason: suspectReason, spreadMs } }], { actor });
    } catch (thrown) {
      tell.emit("loop.subject_failed", { loop: actor, subject: `run ${runId}`, message: String(thrown) });
    }
  }
}
