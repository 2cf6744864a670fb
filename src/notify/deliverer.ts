import type { OutboxRow } from "../store/port/records.ts";

/**
 * Delivers one outbox entry. At least once: an entry may repeat after a crash, so deliveries must be repeatable. Throwing means "not
 * delivered, try again later".
 */
export interface Deliverer {
  readonly kind: OutboxRow["kind"];
  deliver(entry: OutboxRow, signal: AbortSignal): Promise<void>;
}
