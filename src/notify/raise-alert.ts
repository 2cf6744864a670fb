import { messageOf } from "../domain/errors.ts";
import type { OutboxStore } from "../store/port/records.ts";
import type { Emit, WakefulEvents } from "../telemetry/events.ts";

/**
 * Tells a person. `cause` is the key: while an alert of that cause waits to be delivered, the next one takes its place. Never rejects:
 * answers whether the store has taken it, for who would tell it again.
 */
export type RaiseAlert = (alert: WakefulEvents["alert.raised"]) => Promise<boolean>;

/** How whoever does something tells of it: programs by events, people by alerts. */
export interface Tell {
  readonly emit: Emit;
  readonly alert: RaiseAlert;
}

export interface AlertSink {
  readonly outbox: Pick<OutboxStore, "put">;
  readonly emit: Emit;
  /** Also told at once in this process, where no loop of its own delivers what the outbox holds. Default false. */
  readonly tellsHere?: boolean;
}

/**
 * For alerts that follow from no change in the store, so that they outlive the process and reach the same places as the others.
 * Where the store refuses, the event alone is left: whoever must know of a broken store cannot be told through it.
 */
export function alertsThrough({ outbox, emit, tellsHere = false }: AlertSink): RaiseAlert {
  return async (alert) => {
    const { cause, title, details } = alert;
    try {
      await outbox.put({ kind: "alert", key: cause, payload: JSON.stringify({ ...details, title }) });
      if (tellsHere) emit("alert.raised", alert);
      return true;
    } catch (thrown) {
      emit("alert.raised", { cause, title, details: { ...details, notStored: messageOf(thrown) } });
      return false;
    }
  };
}
