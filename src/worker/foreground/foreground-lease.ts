import { formatDuration, spanText } from "../../domain/durations.ts";
import { isWakefulError, messageOf, WakefulError } from "../../domain/errors.ts";
import type { RunId } from "../../domain/ids.ts";
import { type DurationMs, days, seconds } from "../../domain/time.ts";
import { type Pause, timerPause } from "../../runtime/pause.ts";
import type { RunCommandApi } from "./foreground-api.ts";

/** `waitMs` 0: now or not at all. */
export interface WantedLease {
  readonly name: string;
  readonly ttlMs: DurationMs;
  readonly waitMs: DurationMs;
}

export interface ForegroundLeaseOptions {
  readonly api: RunCommandApi;
  readonly runId: RunId;
  readonly lease: WantedLease;
  readonly newTicket: () => string;
  readonly monoNow: () => number;
  readonly pause?: Pause | undefined;
  /** Aborted: the lease is not wanted any more. */
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
  readonly sayOnce: (line: string) => void;
  /** The lease's new holder relies on this command being gone. */
  readonly onLost: (why: string) => void;
}

const maxHoldMs: DurationMs = days(365);
const leasePollMs: DurationMs = seconds(1);
/** The daemon is stopped or starting. */
const awayCodes: ReadonlySet<string> = new Set(["daemon_unreachable", "unavailable"]);
/** How often, in polls, a waiting person is told that we still wait. */
const progressEveryPolls = 30;

/** The lease of a foreground run: waited for in line, renewed while held, and given back. */
export class ForegroundLease {
  readonly #options: ForegroundLeaseOptions;
  #renewing: NodeJS.Timeout | undefined;
  #fencing: number | undefined;

  constructor(options: ForegroundLeaseOptions) {
    this.#options = options;
  }

  /** Set while it is held. */
  get fencing(): number | undefined {
    return this.#fencing;
  }

  stopRenewing(): void {
    clearInterval(this.#renewing);
  }

  /** Waits in line. Returns without the lease when `signal` was aborted meanwhile. */
  async acquire(): Promise<void> {
    const { api, runId, lease, newTicket, monoNow, pause = timerPause, say, signal } = this.#options;
    const { name, ttlMs, waitMs } = lease;
    const ticket = newTicket();
    const request = { name, ticket, runId, ttlMs, maxHoldMs };
    const giveUpAt = monoNow() + waitMs;
    try {
      for (let polls = 0; !signal.aborted; polls++) {
        const leftMs = Math.max(0, Math.ceil(giveUpAt - monoNow()));
        const answer = await this.#ask({ ...request, waitMs: leftMs });
        if (answer.kind === "held") {
          this.#hold(name, answer.fencing, ttlMs);
          return;
        }
        if (answer.kind === "timed_out" || leftMs === 0) throw await this.#refused(name, waitMs);
        if (answer.kind === "waiting" && polls % progressEveryPolls === 0)
          say(`waiting for the lease "${name}": ${await this.#holderText(name)}, place ${answer.position} in line`);
        await pause(leasePollMs, signal);
      }
      await api.abandonLease({ name, ticket });
    } catch (thrown) {
      await api.abandonLease({ name, ticket }).catch(() => undefined);
      throw thrown;
    }
  }

  /** A daemon that was away for a moment still knows our ticket, and so our place in line. */
  async #ask(request: Parameters<RunCommandApi["acquireLease"]>[0]) {
    try {
      return await this.#options.api.acquireLease(request);
    } catch (thrown) {
      if (request.waitMs === 0 || !isWakefulError(thrown) || !awayCodes.has(thrown.code)) throw thrown;
      this.#options.sayOnce(`the daemon does not answer; waiting for it, and for the lease "${request.name}"`);
      return { kind: "unanswered" } as const;
    }
  }

  async #refused(name: string, waitMs: DurationMs): Promise<WakefulError> {
    const waited = waitMs === 0 ? "" : ` after ${formatDuration(waitMs)}`;
    return new WakefulError("conflict", `The lease "${name}" was not granted${waited}: ${await this.#holderText(name)}.`, {
      details: { lease: name },
    });
  }

  async #holderText(name: string): Promise<string> {
    const held = await this.#options.api.leaseHolder(name).catch(() => undefined);
    return held === undefined ? "others are before us" : `${held.holder} has held it for ${spanText(held.heldMs)}`;
  }

  #hold(name: string, fencing: number, ttlMs: DurationMs): void {
    this.#fencing = fencing;
    this.#renewing = setInterval(
      () => {
        this.#options.api.renewLease({ name, fencing }).then(
          (ours) => {
            if (!ours) this.#options.onLost(`the lease "${name}" is somebody else's now`);
          },
          // Once it is back, the daemon sees that this process lives, and takes no lease from a living holder.
          (thrown: unknown) => this.#options.sayOnce(`the lease "${name}" could not be renewed: ${messageOf(thrown)}`),
        );
      },
      Math.max(1, Math.floor(ttlMs / 3)),
    );
  }

  async release(): Promise<void> {
    this.stopRenewing();
    const { lease } = this.#options;
    if (this.#fencing === undefined) return;
    // The end of the run frees it anyway, only later.
    await this.#options.api.releaseLease({ name: lease.name, fencing: this.#fencing }).catch(() => undefined);
  }
}
