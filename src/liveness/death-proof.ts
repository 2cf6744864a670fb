import type { WorkerState } from "../domain/lifecycles/worker.ts";
import { ageMs, type DurationMs, type Instant } from "../domain/time.ts";
import type { ProcessLife } from "./evidence.ts";

/** A session that left, or was judged dead, writes nothing more. That proves its end; silence does not. */
export const isSessionOver = (state: WorkerState): state is "stopped" | "dead" => state === "stopped" || state === "dead";

/** A process on record, as one look found it. */
export interface LookedAtProcess {
  readonly life: ProcessLife;
  /** When the session that answers for it was last heard. */
  readonly heardAt: Instant;
  /** Its host id shows two boots: a cloned machine, or a reboot that is younger than `deadAfterMs`. */
  readonly hostConflict: boolean;
}

/**
 * Tier 0: another boot id under one's own host id proves a death only where no other machine can have written it, so its session is silent
 * by the clock and its host is one machine. No other rule counts another boot.
 */
export const diedWithEarlierBoot = (
  { life, heardAt, hostConflict }: LookedAtProcess,
  { deadAfterMs }: { readonly deadAfterMs: DurationMs },
  now: Instant,
): boolean => life === "otherBoot" && !hostConflict && ageMs(heardAt, now) >= deadAfterMs;
