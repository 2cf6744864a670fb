import type { WorkerState } from "../domain/lifecycles/worker.ts";
import { ageMs, type DurationMs, type Instant } from "../domain/time.ts";
import type { ProcessLife } from "./evidence.ts";

/** A session that left or was judged dead writes nothing more, which proves its end. Silence proves nothing. */
export const isSessionOver = (state: WorkerState): state is "stopped" | "dead" => state === "stopped" || state === "dead";

/** A recorded process, as one probe found it. */
export interface LookedAtProcess {
  readonly life: ProcessLife;
  /** When its session was last heard. */
  readonly heardAt: Instant;
  /** The host id shows two boot ids: a cloned machine, or a reboot younger than `deadAfterMs`. */
  readonly hostConflict: boolean;
}

/**
 * Tier 0 of docs/verdicts.md: another boot id under the same host id proves death only if its session is silent by the clock and the host
 * is one machine, not a clone. No other rule counts another boot.
 */
export const diedWithEarlierBoot = (
  { life, heardAt, hostConflict }: LookedAtProcess,
  { deadAfterMs }: { readonly deadAfterMs: DurationMs },
  now: Instant,
): boolean => life === "otherBoot" && !hostConflict && ageMs(heardAt, now) >= deadAfterMs;

/** The process is gone, or died with an earlier boot. On a host that is two machines a pid proves neither. */
export const isProvedDead = (looked: LookedAtProcess, thresholds: { readonly deadAfterMs: DurationMs }, now: Instant): boolean =>
  (looked.life === "dead" && !looked.hostConflict) || diedWithEarlierBoot(looked, thresholds, now);
