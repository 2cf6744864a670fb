import type { OutboxRow } from "../store/port/records.ts";

/**
 * Carries one outbox entry out of the store. At least once: the same entry may come again after a crash, so a delivery has to be
 * repeatable. Throwing means "not delivered, try again later".
 */
export interface Deliverer {
  readonly kind: OutboxRow["kind"];
  deliver(entry: OutboxRow, signal: AbortSignal): Promise<void>;
}
