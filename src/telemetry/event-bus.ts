import type { Instant } from "../domain/time.ts";
import type { Emit, EmittedEvent } from "./events.ts";

type Subscriber = (event: EmittedEvent) => void;

/**
 * Carries events to their subscribers, in order, before `emit` returns. A subscriber that throws affects neither the emitter nor the
 * others.
 */
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

  /** Returns a function that unsubscribes. */
  subscribe(subscriber: Subscriber): () => void {
    this.#subscribers.add(subscriber);
    return () => {
      this.#subscribers.delete(subscriber);
    };
  }
}

/**
 * The data of an event with every duration (a field that ends in `Ms`) as a whole number: clocks give fractions, and readers of integers
 * fail on them. Data without fractions is returned as it is.
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
  // Reaches details of alerts and settings of loops, which are not nested deeper; objects that are not plain data belong to the emitter.
  return isPlain(value) ? wholeMilliseconds(value) : value;
}

const isPlain = (value: unknown): value is object =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
