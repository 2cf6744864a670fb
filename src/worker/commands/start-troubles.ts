import type { DurationMs } from "../../domain/time.ts";
import { isHostWide, remedyForStart, type StartFailure } from "../../liveness/start-blame.ts";
import type { Tell } from "../../notify/raise-alert.ts";

/** A start that the machine prevented. */
export interface PreventedStart {
  readonly queue: string;
  readonly failure: StartFailure;
  /** For people. */
  readonly why: string;
  /** Tries the step that failed, without a job. Rejects while it still fails. */
  readonly probe: () => Promise<void>;
}

export interface StartTroublesDeps {
  readonly tell: Tell;
  /** Milliseconds of a clock that never goes back. */
  readonly monoNow: () => number;
  /** This installation: alerts of one host do not replace another's. */
  readonly hostId: string;
}

/** Which queues may be claimed from now, and how many runs at most. */
export interface StartRoom {
  /** Undefined: all. */
  readonly open: ReadonlySet<string> | undefined;
  readonly max: number;
  /** One job is claimed to see whether it can be started. */
  readonly isTrial: boolean;
}

const probeEveryMs: DurationMs = 1000;
const firstDelayMs: DurationMs = 1000;
const delayMaxMs: DurationMs = 60_000;
/** A trouble that comes back so soon after it was over is told no second time. */
const sameTroubleMs: DurationMs = 60_000;

interface Trouble {
  readonly scope: string;
  prevented: PreventedStart;
  failures: number;
  /** Its step works again; whether a job can be started is still to be seen. */
  seemsOver: boolean;
  probing: boolean;
  probeAt: number;
  /** Not before then is a job tried again, whatever the probe says. */
  tryAt: number;
  /** When a job was given out to be tried. Undefined: none is. */
  triedAt: number | undefined;
  overAt: number | undefined;
}

const wholeHost = "host";

/**
 * Holds back claims while this machine prevents starts, of one stage or of the whole host. The step that failed is tried each second without
 * a job. When it works, one job is tried, each time after twice the delay.
 */
export class StartTroubles {
  readonly #deps: StartTroublesDeps;
  readonly #troubles = new Map<string, Trouble>();

  constructor(deps: StartTroublesDeps) {
    this.#deps = deps;
  }

  /** What is in the way now, for people. */
  get reasons(): readonly { readonly hostWide: boolean; readonly queue: string; readonly text: string }[] {
    return [...this.#troubles.values()]
      .filter(({ overAt }) => overAt === undefined)
      .map(({ scope, prevented }) => ({ hostWide: scope === wholeHost, queue: prevented.queue, text: textOf(prevented) }));
  }

  /** The machine prevented a start. The job has gone back to its queue. */
  prevented(prevented: PreventedStart): void {
    const { monoNow, tell, hostId } = this.#deps;
    const scope = isHostWide(prevented.failure) ? wholeHost : prevented.queue;
    const now = monoNow();
    const before = this.#troubles.get(scope);
    const goesOn = before !== undefined && (before.overAt === undefined || now - before.overAt < sameTroubleMs);
    const isNews = !goesOn || causeOf(before.prevented) !== causeOf(prevented);
    const lasts = before !== undefined && before.overAt === undefined;
    // Others that had been claimed already say nothing new: only a trial after a good probe makes the delay longer.
    const failures = lasts ? before.failures + (before.triedAt === undefined ? 0 : 1) : 1;
    this.#troubles.set(scope, {
      scope,
      prevented,
      failures,
      seemsOver: false,
      probing: false,
      probeAt: now + probeEveryMs,
      tryAt: now + Math.min(delayMaxMs, firstDelayMs * 2 ** Math.min(16, failures - 1)),
      triedAt: undefined,
      overAt: undefined,
    });
    if (!isNews) return;
    const { queue, failure, why } = prevented;
    const hostWide = scope === wholeHost;
    tell.emit("start.prevented", { queue: hostWide ? null : queue, code: failure.code ?? null, message: why });
    void tell.alert({
      cause: alertCause(hostId, scope),
      title: `${hostWide ? "This host starts no commands" : `No command of ${queue} is started`}, and nothing is spent meanwhile: ${textOf(prevented)}`,
      details: { queue: hostWide ? null : queue, code: failure.code ?? null, why, remedy: remedyForStart(failure) },
    });
  }

  /** A command of this queue was started. */
  started(queue: string): void {
    if (this.#troubles.size === 0) return;
    this.#over(wholeHost);
    this.#over(queue);
  }

  /** Tries what is due. Called once a second; never rejects. */
  look(): void {
    const now = this.#deps.monoNow();
    for (const trouble of this.#troubles.values()) {
      if (trouble.overAt !== undefined) {
        if (now - trouble.overAt >= sameTroubleMs) this.#troubles.delete(trouble.scope);
      } else if (!trouble.probing && !trouble.seemsOver && now >= trouble.probeAt) void this.#probe(trouble);
    }
  }

  /**
   * What may be claimed of `queues`. Undefined: nothing.
   * @param beingStarted - runs claimed and not yet started.
   */
  room(
    free: number,
    { queues, beingStarted }: { readonly queues: readonly string[]; readonly beingStarted: number },
  ): StartRoom | undefined {
    const troubles = [...this.#troubles.values()].filter(({ overAt }) => overAt === undefined);
    if (troubles.length === 0) return { open: undefined, max: free, isTrial: false };
    const now = this.#deps.monoNow();
    const byScope = new Map(troubles.map((trouble) => [trouble.scope, trouble]));
    const host = byScope.get(wholeHost);
    if (host !== undefined) {
      // A stage whose own trouble seems over may prove both at once: it may be the only one.
      const open = new Set(queues.filter((queue) => isOpenOrDue(byScope.get(queue), now)));
      if (open.size === 0 || beingStarted > 0 || !isDue(host, now)) return undefined;
      host.triedAt = now;
      return { open, max: 1, isTrial: true };
    }
    const due = beingStarted > 0 ? undefined : troubles.find((trouble) => isDue(trouble, now));
    if (due !== undefined) {
      due.triedAt = now;
      return { open: new Set([due.scope]), max: 1, isTrial: true };
    }
    const open = new Set(queues.filter((queue) => !byScope.has(queue)));
    return open.size === 0 ? undefined : { open, max: free, isTrial: false };
  }

  async #probe(trouble: Trouble): Promise<void> {
    trouble.probing = true;
    try {
      await trouble.prevented.probe();
      trouble.seemsOver = true;
    } catch {
      // Still in the way: tried again in a second.
    } finally {
      trouble.probing = false;
      trouble.probeAt = this.#deps.monoNow() + probeEveryMs;
    }
  }

  #over(scope: string): void {
    const trouble = this.#troubles.get(scope);
    if (trouble === undefined || trouble.overAt !== undefined) return;
    trouble.overAt = this.#deps.monoNow();
    const { queue, failure } = trouble.prevented;
    const hostWide = scope === wholeHost;
    this.#deps.tell.emit("start.possible", { queue: hostWide ? null : queue });
    void this.#deps.tell.alert({
      cause: alertCause(this.#deps.hostId, scope),
      title: `${hostWide ? "This host starts commands" : `Commands of ${queue} are started`} again`,
      details: { queue: hostWide ? null : queue, code: failure.code ?? null },
    });
  }
}

/** One job a second at most is given out: the claim may have found none. */
const isDue = ({ seemsOver, tryAt, triedAt }: Trouble, now: number): boolean =>
  seemsOver && now >= tryAt && (triedAt === undefined || now - triedAt >= probeEveryMs);

const isOpenOrDue = (trouble: Trouble | undefined, now: number): boolean => trouble === undefined || isDue(trouble, now);

const textOf = ({ why, failure }: PreventedStart): string => `${why}. ${remedyForStart(failure)}`;

const causeOf = ({ failure: { step, code, otherDevice } }: PreventedStart): string => `${step ?? ""}:${code ?? ""}:${otherDevice}`;

const alertCause = (hostId: string, scope: string): string => `start_prevented:${hostId}:${scope}`;
