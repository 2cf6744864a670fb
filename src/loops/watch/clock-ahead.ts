import { clockAheadMaxMs, type DurationMs } from "../../domain/time.ts";
import type { RaiseAlert } from "../../notify/raise-alert.ts";

/**
 * Alerts, once per start, when the store's newest instant lies far ahead of the wall clock: the store's clock, and every age, stands still
 * until the wall catches up.
 */
export async function tellClockAhead({ alert, aheadMs }: { readonly alert: RaiseAlert; readonly aheadMs: DurationMs }): Promise<void> {
  if (aheadMs <= clockAheadMaxMs) return;
  const title =
    `The store's newest instant is ${Math.floor(aheadMs / 60_000)} min ahead of this host's clock, and ages stand still until it has caught up. ` +
    "Set the clock right, or stop the daemon and run `wakeful doctor --reset-clock`";
  await alert({ cause: "clock:ahead", title, details: { aheadMs } });
}
