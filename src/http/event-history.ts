import type { EventBus } from "../telemetry/event-bus.ts";
import type { EmittedEvent } from "../telemetry/events.ts";

export interface NumberedEvent {
  /** `<start of the daemon>.<number within it>`: a client of an earlier start gets a gap instead of wrong events. */
  readonly id: string;
  readonly number: number;
  readonly event: EmittedEvent;
}

/** What a resuming client has missed: the events that are still kept, and a gap where some are not. */
export interface Missed {
  readonly gap: { readonly missed: number | null } | undefined;
  readonly events: readonly NumberedEvent[];
}

/** Keeps the newest events, numbered, so that a stream which broke can be resumed. */
export class EventHistory {
  readonly #startSeq: number;
  readonly #capacity: number;
  readonly #ring: NumberedEvent[] = [];
  readonly #listeners = new Set<(event: NumberedEvent) => void>();
  readonly #stop: () => void;
  #next = 1;

  constructor({ bus, startSeq, capacity }: { readonly bus: EventBus; readonly startSeq: number; readonly capacity: number }) {
    this.#startSeq = startSeq;
    this.#capacity = capacity;
    this.#stop = bus.subscribe((event) => this.#keep(event));
  }

  /** Where a client that connects now resumes later, even before its first event. */
  get newestId(): string {
    return `${this.#startSeq}.${this.#next - 1}`;
  }

  /** What came after `lastEventId`. */
  since(lastEventId: string): Missed {
    const match = /^([0-9]{1,15})\.([0-9]{1,15})$/.exec(lastEventId);
    const seen = Number(match?.[2]);
    // Unknown, of another start, or from the future: how much was missed cannot be told.
    if (match === null || Number(match[1]) !== this.#startSeq || seen >= this.#next)
      return { gap: { missed: null }, events: [...this.#ring] };
    const oldest = this.#ring[0]?.number ?? this.#next;
    const missed = Math.max(0, oldest - seen - 1);
    return { gap: missed === 0 ? undefined : { missed }, events: this.#ring.filter(({ number }) => number > seen) };
  }

  /** Returns the function that stops it. */
  listen(listener: (event: NumberedEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  close(): void {
    this.#stop();
    this.#listeners.clear();
  }

  #keep(event: EmittedEvent): void {
    const number = this.#next++;
    const numbered = { id: `${this.#startSeq}.${number}`, number, event };
    this.#ring.push(numbered);
    if (this.#ring.length > this.#capacity) this.#ring.shift();
    for (const listener of this.#listeners) listener(numbered);
  }
}
