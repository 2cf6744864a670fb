import { Socket } from "node:net";
import type { MessagePort } from "node:worker_threads";
import { WakefulError } from "../../domain/errors.ts";
import type { RunId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import { isSessionOver } from "../../liveness/death-proof.ts";
import { tooLate, within } from "../../runtime/time-limit.ts";
import { PipeBackend } from "../backends/pipe.ts";
import { PipeChannel } from "../backends/pipe-channel.ts";
import { StoreTime } from "../backends/store-time.ts";
import { HeartbeatFiles } from "../buffers/heartbeat-files.ts";
import type { Renewal } from "../worker-backend.ts";
import { type HeldAnswer, hostFds, type PresenceData, type ToMainThread, type ToPresenceThread } from "./host-protocol.ts";

export interface PresenceThreadOptions {
  readonly data: PresenceData;
  readonly port: Pick<MessagePort, "on" | "postMessage">;
  readonly monoNow: () => number;
  readonly wallNow: () => number;
  /** Ends the whole process at once, whatever its main thread is doing. */
  readonly kill: () => void;
}

/** How long the main thread has to say what it holds before it is renewed with what it said last. */
const answerWithinMs: DurationMs = 100;

/**
 * Renews the host's session from a thread of its own, over a pipe of its own: a main thread that is deep in a blocking call is busy, not
 * dead, and so the heartbeat files of its runs are heard here too. Also the one who ends the process when its main thread cannot: when the daemon is gone, or when handlers of lost runs do not stop.
 */
export function runPresenceThread({ data, port, monoNow, wallNow, kill }: PresenceThreadOptions): void {
  const { workerId, renewMs, renewTimeoutMs, obeyWithinMs } = data;
  const time = new StoreTime({ now: data.now, mono: monoNow });
  const tell = (message: ToMainThread): void => port.postMessage(message);
  let last: HeldAnswer = { kind: "held", number: 0, held: [], claimSeqReceived: 0, disobeying: false };
  let asked = { number: 0, atMono: monoNow(), answered: true };
  let lagMs = 0;
  let renewing = false;
  const lost = new Set<RunId>();
  /** Since when the main thread has not answered to lost runs, or has handlers of such that do not stop. */
  let disobeyingSince: number | undefined;

  const channel: PipeChannel = new PipeChannel({
    stream: new Socket({ fd: hostFds.presence }),
    onStamp: (now) => time.sync(now),
    onClose: () => {
      // The main thread has heard it too, and goes in order if it can.
      setTimeout(kill, obeyWithinMs);
    },
  });

  const backend = new PipeBackend(channel, time);

  const files = new HeartbeatFiles({
    now: () => time.now(),
    wallNow,
    lookMs: data.lookMs,
    beat: async (beats) => {
      const lost = await within(backend.beat(workerId, beats), renewTimeoutMs);
      if (lost === tooLate) throw new WakefulError("unavailable", `no answer to a heartbeat within ${renewTimeoutMs} ms`);
      return lost;
    },
    onLost: (runIds) => tell({ kind: "lost", runs: runIds.map((runId) => ({ runId, why: "it is not running any more" })) }),
  });

  port.on("message", (message: ToPresenceThread) => {
    if (message.kind === "watch") files.hold(message.run);
    else if (message.kind === "unwatch") files.drop(message.runId);
    else hear(message);
  });
  const hear = (message: HeldAnswer): void => {
    last = message;
    if (message.number === asked.number && !asked.answered) {
      asked = { ...asked, answered: true };
      lagMs = monoNow() - asked.atMono;
      onAnswer();
    }
    if (message.disobeying) return;
    disobeyingSince = undefined;
    lost.clear();
  };
  let onAnswer: () => void = () => undefined;

  /** A question that is still open is not repeated: its age is the lag. */
  const ask = async (): Promise<void> => {
    if (asked.answered) {
      asked = { number: asked.number + 1, atMono: monoNow(), answered: false };
      tell({ kind: "ask", number: asked.number });
    }
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      onAnswer = resolve;
      timer = setTimeout(resolve, Math.min(answerWithinMs, renewMs / 2));
    });
    clearTimeout(timer);
    if (!asked.answered) lagMs = monoNow() - asked.atMono;
  };

  const renew = async (): Promise<void> => {
    await ask();
    const renewal: Renewal = {
      workerId,
      held: last.held,
      claimSeqReceived: last.claimSeqReceived,
      loopLagMs: Math.round(lagMs),
    };
    const answering = backend.renew(renewal);
    const answer = await within(answering, renewTimeoutMs);
    if (answer !== tooLate) {
      take(answer);
      return;
    }
    channel.note("event", {
      name: "store.degraded",
      data: { code: "renew_timeout", message: `no answer to a renewal of the handler host within ${renewTimeoutMs} ms` },
    });
    // What it says of our runs is true whenever it comes; the next renewal does not wait for it.
    answering.then(take).catch(() => undefined);
  };

  const take = (answer: Awaited<ReturnType<PipeBackend["renew"]>>): void => {
    if (isSessionOver(answer.state)) tell({ kind: "fenced", state: answer.state });
    if (answer.lost.length > 0) {
      for (const { runId } of answer.lost) lost.add(runId);
      tell({ kind: "lost", runs: answer.lost });
      disobeyingSince ??= monoNow();
    }
    if (disobeyingSince === undefined || monoNow() - disobeyingSince < obeyWithinMs) return;
    channel.note("retiring", { runIds: [...lost] });
    setTimeout(kill, answerWithinMs);
  };

  const tick = (): void => {
    if (renewing || channel.closed) return;
    renewing = true;
    renew()
      .catch(() => {
        // The daemon answered with an error, which it has told itself, or is gone, which ends us: either way there is another tick.
      })
      .finally(() => {
        renewing = false;
      });
  };
  setInterval(tick, renewMs);
  tick();
}
