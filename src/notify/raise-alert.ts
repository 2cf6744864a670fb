import { messageOf } from "../domain/errors.ts";
import type { OutboxStore } from "../store/port/records.ts";
import type { Emit, WakefulEvents } from "../telemetry/events.ts";

/**
 * Alerts a person. While an alert of the same `cause` waits for delivery, a new one replaces it. Never rejects: returns whether the store
 * has taken it, so that the caller can repeat it.
 */
export type RaiseAlert = (alert: WakefulEvents["alert.raised"]) => Promise<boolean>;

/** Reports what code does: to programs by events, to people by alerts. */
export interface Tell {
  readonly emit: Emit;
  readonly alert: RaiseAlert;
}

export interface AlertSink {
  readonly outbox: Pick<OutboxStore, "put">;
  readonly emit: Emit;
  /** Emits the event at once too, for a process without a loop that delivers the outbox. Default false. */
  readonly tellsHere?: boolean | undefined;
}

/**
 * For alerts that follow from no change in the store, so that they outlive the process too. When the store refuses one, only the event is
 * left: a broken store cannot carry its own alert.
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
