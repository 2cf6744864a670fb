import { inSeconds } from "../domain/durations.ts";
import { ageMs, type DurationMs, type Instant } from "../domain/time.ts";
import { isProvedDead } from "./death-proof.ts";
import type { Channel, ProcessLife } from "./evidence.ts";
import { isSilent, type VantageView } from "./vantage.ts";
import { deadAfterIn } from "./vantage-mode.ts";

/** What the store knows about the session of one worker that has not ended. */
export interface WorkerFacts {
  /** When it was last heard, by a renewal, a claim or any other call. */
  readonly heardAt: Instant;
  readonly channel: Channel;
}

/** What one look observed of a worker's process. */
export interface WorkerEvidence {
  /** `unknown` for foreign hosts and namespaces, and for a failed probe. */
  readonly process: { readonly pid: number; readonly life: ProcessLife };
  /** Two live sessions share the host id with different boot ids: no pid evidence of this host counts. */
  readonly hostConflict: boolean;
}

export interface WorkerThresholds {
  /** How long a session may be silent. Default 30 000 ms; doubled once while many turned silent together. */
  readonly deadAfterMs: DurationMs;
}

export type WorkerVerdict =
  | { readonly kind: "leave_alone"; readonly reason: "heard" | "doubted" }
  | { readonly kind: "leave_alone"; readonly reason: "alive_but_silent"; readonly silentMs: DurationMs; readonly limitMs: DurationMs }
  | { readonly kind: "dead"; readonly reason: "process_dead"; readonly pid: number }
  | { readonly kind: "dead"; readonly reason: "other_boot"; readonly sinceHeardMs: DurationMs; readonly limitMs: DurationMs }
  | {
      readonly kind: "dead";
      readonly reason: "silent";
      readonly silentMs: DurationMs;
      readonly deafMs: DurationMs;
      readonly limitMs: DurationMs;
    };

/**
 * Judges one worker's session. A process proved dead ends it at once; another boot id, once the session is silent by the clock; silence
 * alone, only after vantage and where the process cannot be probed (decision 0006).
 */
export function judgeWorker(
  worker: WorkerFacts,
  evidence: WorkerEvidence,
  thresholds: WorkerThresholds,
  vantage: VantageView,
  now: Instant,
): WorkerVerdict {
  const { pid } = evidence.process;
  const life = evidence.hostConflict ? "unknown" : evidence.process.life;
  const sinceHeardMs = ageMs(worker.heardAt, now);
  if (isProvedDead({ life, heardAt: worker.heardAt, hostConflict: evidence.hostConflict }, thresholds, now)) {
    return life === "dead"
      ? { kind: "dead", reason: "process_dead", pid }
      : { kind: "dead", reason: "other_boot", sinceHeardMs, limitMs: thresholds.deadAfterMs };
  }
  const limitMs = deadAfterIn(vantage.mode, thresholds.deadAfterMs);
  const { silent, silence } = isSilent(vantage, { channel: worker.channel, lastHeardAt: worker.heardAt, limitMs, now });
  const { silentMs, deafMs } = silence;
  if (silent && life !== "alive") return { kind: "dead", reason: "silent", silentMs, deafMs, limitMs };
  if (silent) return { kind: "leave_alone", reason: "alive_but_silent", silentMs, limitMs };
  return { kind: "leave_alone", reason: sinceHeardMs >= limitMs ? "doubted" : "heard" };
}

/** Why a session is over, for people, with the numbers that led to it. */
export function explainWorker(verdict: Extract<WorkerVerdict, { readonly kind: "dead" }>): string {
  switch (verdict.reason) {
    case "process_dead":
      return `dead pid ${verdict.pid}`;
    case "other_boot":
      return `its host was started again; last heard ${inSeconds(verdict.sinceHeardMs)} ago`;
    case "silent": {
      const deaf = verdict.deafMs > 0 ? `, not counting ${inSeconds(verdict.deafMs)} in which it could not be heard` : "";
      return `silent for ${inSeconds(verdict.silentMs)} (limit ${inSeconds(verdict.limitMs)}${deaf})`;
    }
  }
}
