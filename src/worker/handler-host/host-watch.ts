import { inSeconds } from "../../domain/durations.ts";
import type { WorkerId } from "../../domain/ids.ts";
import { type DurationMs, seconds } from "../../domain/time.ts";
import { type Hearing, heardNow, isUnheard, lookedAgain } from "../../liveness/hearing.ts";
import type { Tell } from "../../notify/raise-alert.ts";
import { loadWithinMs } from "./host-protocol.ts";

export interface HostWatchOptions {
  readonly pid: number;
  /** Undefined until its session begins: before that it has {@link loadWithinMs} more. */
  readonly workerId: () => WorkerId | undefined;
  readonly deadAfterMs: DurationMs;
  readonly renewMs: DurationMs;
  readonly monoNow: () => number;
  readonly tell: Tell;
  /** Ends the process. Called once. */
  readonly kill: () => void;
}

/** Between two looks at whether it speaks. */
const lookMsMax: DurationMs = seconds(1);

/** Kills a handler host that says nothing. Its presence thread speaks however busy its handlers are, so a silent one stands still. */
export class HostWatch {
  readonly #options: HostWatchOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #lookMs: DurationMs;
  #hearing: Hearing;
  #hungMs: DurationMs | undefined;

  constructor(options: HostWatchOptions) {
    this.#options = options;
    this.#lookMs = Math.min(lookMsMax, options.renewMs);
    this.#hearing = heardNow(options.monoNow());
    this.#timer = setInterval(() => this.#look(), this.#lookMs).unref();
  }

  /** For how long it had said nothing when it was killed for that. Undefined: it was not. */
  get hungMs(): DurationMs | undefined {
    return this.#hungMs;
  }

  /** Something came from it. */
  heard(): void {
    this.#hearing = heardNow(this.#options.monoNow());
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const { pid, deadAfterMs, renewMs, monoNow, tell, kill } = this.#options;
    const workerId = this.#options.workerId() ?? null;
    const limitMs = deadAfterMs + (workerId === null ? loadWithinMs : 0);
    const limits = { lookMs: this.#lookMs, limitMs, reannounceMs: Math.min(limitMs, 2 * renewMs) };
    this.#hearing = lookedAgain(this.#hearing, monoNow(), limits);
    if (!isUnheard(this.#hearing, limits)) return;
    const silentMs = Math.round(this.#hearing.unheardMs);
    this.#hungMs = silentMs;
    this.stop();
    tell.emit("worker.hung", { workerId, pid, silentMs, limitMs, killed: true });
    void tell.alert({
      cause: `worker_hung:${workerId ?? pid}`,
      title:
        `The handler host (pid ${pid}) said nothing for ${inSeconds(silentMs)} though it lives: it was killed, and another takes its work. ` +
        "See what stopped it: a signal, a debugger, a frozen container, or a machine without memory",
      details: { pid, workerId, silentMs, limitMs },
    });
    kill();
  }
}
