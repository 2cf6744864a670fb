import type { Instant } from "../domain/time.ts";
import type { Emit, EmittedEvent } from "./events.ts";
import { wholeMilliseconds } from "./whole-milliseconds.ts";

type Subscriber = (event: EmittedEvent) => void;

/** Carries events to their subscribers, in order, in the emitter's turn. A subscriber that throws never hurts the emitter or its fellows. */
export class EventBus {
  readonly #subscribers = new Set<Subscriber>();
  readonly #now: () => Instant;
  readonly #onSubscriberError: (thrown: unknown) => void;

  constructor(now: () => Instant, onSubscriberError: (thrown: unknown) => void) {
    this.#now = now;
    this.#onSubscriberError = onSubscriberError;
  }

  readonly emit: Emit = (name, data) => {
    if (this.#subscribers.size === 0) return;
    const event = { name, at: this.#now(), data: wholeMilliseconds(data) } as EmittedEvent;
    for (const subscriber of this.#subscribers) {
      try {
        subscriber(event);
      } catch (thrown) {
        this.#onSubscriberError(thrown);
      }
    }
  };

  /** Returns the way to stop. */
  subscribe(subscriber: Subscriber): () => void {
    this.#subscribers.add(subscriber);
    return () => {
      this.#subscribers.delete(subscriber);
    };
  }
}
