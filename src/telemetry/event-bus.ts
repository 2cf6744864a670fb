import type { Instant } from "../domain/time.ts";
import type { Emit, EmittedEvent } from "./events.ts";

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

/**
 * Data of an event with every duration in it (a field whose name ends in `Ms`) as a whole number. Clocks that measure give fractions, which
 * nobody reads, and whoever reads durations as integers could not read at all. Data without fractions is given back as it is.
 */
function wholeMilliseconds<Data extends object>(data: Data): Data {
  let rounded: Record<string, unknown> | undefined;
  for (const [key, value] of Object.entries(data) as [string, unknown][]) {
    const whole = wholeValue(key, value);
    if (!Object.is(whole, value)) rounded = { ...(rounded ?? data), [key]: whole };
  }
  // The same keys with values of the same types.
  return rounded === undefined ? data : (rounded as Data);
}

function wholeValue(key: string, value: unknown): unknown {
  if (typeof value === "number") return key.endsWith("Ms") && !Number.isInteger(value) ? Math.round(value) : value;
  // Details of alerts and settings of loops; deeper is nothing, and what is no plain data is the emitter's own.
  return isPlain(value) ? wholeMilliseconds(value) : value;
}

const isPlain = (value: unknown): value is object =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
