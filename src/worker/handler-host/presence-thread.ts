import { Socket } from "node:net";
import type { MessagePort } from "node:worker_threads";
import { WakefulError } from "../../domain/errors.ts";
import type { RunId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import { isSessionOver } from "../../liveness/death-proof.ts";
import { tooLate, within } from "../../runtime/time-limit.ts";
import { PipeBackend } from "../backends/pipe-backend.ts";
import { PipeChannel } from "../backends/pipe-channel.ts";
import { StoreTime } from "../backends/store-time.ts";
import { HeartbeatFiles } from "../buffers/heartbeat-files.ts";
import type { RenewalAnswer, RunBeat } from "../worker-backend.ts";
import { type HeldAnswer, hostFds, type PresenceData, type ToMainThread, type ToPresenceThread } from "./host-protocol.ts";

export interface PresenceThreadOptions {
  readonly data: PresenceData;
  readonly port: Pick<MessagePort, "on" | "postMessage">;
  readonly monoNow: () => number;
  readonly wallNow: () => number;
  /** Ends the whole process at once, whatever its main thread is doing. */
  readonly kill: () => void;
}

/** How long the main thread may take to name what it holds. After that it is renewed with its last answer. */
const answerWithinMs: DurationMs = 100;

/**
 * Renews the host's session and watches its heartbeat files from its own thread and pipe, because a blocked main thread is busy, not dead.
 * Ends the process when the daemon is gone or handlers of lost runs do not stop.
 */
export class PresenceThread {
  readonly #options: PresenceThreadOptions;
  readonly #channel: PipeChannel;
  readonly #backend: PipeBackend;
  readonly #files: HeartbeatFiles;
  readonly #lost = new Set<RunId>();
  #last: HeldAnswer = { kind: "held", number: 0, held: [], claimSeqReceived: 0, disobeying: false };
  #asked: { readonly number: number; readonly atMono: number; readonly answered: boolean };
  #onAnswer: () => void = () => undefined;
  #lagMs = 0;
  #renewing = false;
  /** Since when the main thread has not reacted to lost runs, or has handlers of such runs that do not stop. */
  #disobeyingSince: number | undefined;

  constructor(options: PresenceThreadOptions) {
    const { data, port, monoNow, wallNow, kill } = options;
    this.#options = options;
    this.#asked = { number: 0, atMono: monoNow(), answered: true };
    const time = new StoreTime({ now: data.now, mono: monoNow });
    this.#channel = new PipeChannel({
      stream: new Socket({ fd: hostFds.presence }),
      onStamp: (now) => time.sync(now),
      onClose: () => {
        // The main thread has seen it too, and exits in order if it can.
        setTimeout(kill, data.obeyWithinMs);
      },
    });
    this.#backend = new PipeBackend(this.#channel, time);
    this.#files = new HeartbeatFiles({
      now: () => time.now(),
      wallNow,
      lookMs: data.lookMs,
      beat: (beats) => this.#beat(beats),
      onLost: (runIds) => this.#tell({ kind: "lost", runs: runIds.map((runId) => ({ runId, why: "it is not running any more" })) }),
    });
    port.on("message", (message: ToPresenceThread) => {
      if (message.kind === "watch") this.#files.hold(message.run);
      else if (message.kind === "unwatch") this.#files.drop(message.runId);
      else this.#hear(message);
    });
  }

  /** Renews at once, and from then on until the process ends. */
  start(): void {
    setInterval(() => this.#tick(), this.#options.data.renewMs);
    this.#tick();
  }

  #tell(message: ToMainThread): void {
    this.#options.port.postMessage(message, []);
  }

  async #beat(beats: readonly RunBeat[]): Promise<readonly RunId[]> {
    const { workerId, renewTimeoutMs } = this.#options.data;
    const lost = await within(this.#backend.beat(workerId, beats), renewTimeoutMs);
    if (lost === tooLate) throw new WakefulError("unavailable", `no answer to a heartbeat within ${renewTimeoutMs} ms`);
    return lost;
  }

  #hear(message: HeldAnswer): void {
    this.#last = message;
    if (message.number === this.#asked.number && !this.#asked.answered) {
      this.#asked = { ...this.#asked, answered: true };
      this.#lagMs = this.#options.monoNow() - this.#asked.atMono;
      this.#onAnswer();
    }
    if (message.disobeying) return;
    this.#disobeyingSince = undefined;
    this.#lost.clear();
  }

  /** A question still open is not repeated: its age is the lag. */
  async #ask(): Promise<void> {
    const { data, monoNow } = this.#options;
    if (this.#asked.answered) {
      this.#asked = { number: this.#asked.number + 1, atMono: monoNow(), answered: false };
      this.#tell({ kind: "ask", number: this.#asked.number });
    }
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#onAnswer = resolve;
      timer = setTimeout(resolve, Math.min(answerWithinMs, data.renewMs / 2));
    });
    clearTimeout(timer);
    if (!this.#asked.answered) this.#lagMs = monoNow() - this.#asked.atMono;
  }

  async #renew(): Promise<void> {
    const { workerId, renewTimeoutMs } = this.#options.data;
    await this.#ask();
    const { held, claimSeqReceived } = this.#last;
    const answering = this.#backend.renew({ workerId, held, claimSeqReceived, loopLagMs: Math.round(this.#lagMs) });
    const answer = await within(answering, renewTimeoutMs);
    if (answer !== tooLate) {
      this.#take(answer);
      return;
    }
    this.#channel.note("event", {
      name: "store.degraded",
      data: { code: "renew_timeout", message: `no answer to a renewal of the handler host within ${renewTimeoutMs} ms` },
    });
    // What the answer says of our runs is true whenever it comes; the next renewal does not wait for it.
    answering.then((late) => this.#take(late)).catch(() => undefined);
  }

  #take(answer: RenewalAnswer): void {
    const { data, monoNow, kill } = this.#options;
    if (isSessionOver(answer.state)) this.#tell({ kind: "fenced", state: answer.state });
    if (answer.lost.length > 0) {
      for (const { runId } of answer.lost) this.#lost.add(runId);
      this.#tell({ kind: "lost", runs: answer.lost });
      this.#disobeyingSince ??= monoNow();
    }
    if (this.#disobeyingSince === undefined || monoNow() - this.#disobeyingSince < data.obeyWithinMs) return;
    this.#channel.note("retiring", { runIds: [...this.#lost] });
    setTimeout(kill, answerWithinMs);
  }

  #tick(): void {
    if (this.#renewing || this.#channel.closed) return;
    this.#renewing = true;
    this.#renew()
      .catch(() => {
        // The daemon answered with an error that it has reported itself, or is gone, which ends this process. Either way there is another
        // tick.
      })
      .finally(() => {
        this.#renewing = false;
      });
  }
}
