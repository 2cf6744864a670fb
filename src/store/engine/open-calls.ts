import { storeClosed } from "../port/errors.ts";

type Verbs = Readonly<Record<string, (...args: never[]) => Promise<unknown>>>;

/** Calls under way. A close lets them end, whatever number of statements each still needs, and refuses those that come after. */
export class OpenCalls {
  #open = 0;
  #closed = false;
  #drained: (() => void) | undefined;

  /** The same verbs, counted while they run. */
  guard<Guarded extends object>(verbs: Guarded): Guarded {
    const guarded = Object.entries(verbs as Verbs).map(([name, verb]) => [name, (...args: never[]) => this.#run(() => verb(...args))]);
    return Object.fromEntries(guarded) as Guarded;
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#open === 0) return;
    await new Promise<void>((resolve) => {
      this.#drained = resolve;
    });
  }

  #run(call: () => Promise<unknown>): Promise<unknown> {
    if (this.#closed) return Promise.reject(storeClosed());
    this.#open += 1;
    const answer = call();
    // The caller's own promise goes back; this one only watches it, and handles a rejection by counting it.
    answer.then(this.#ended, this.#ended);
    return answer;
  }

  readonly #ended = (): void => {
    this.#open -= 1;
    if (this.#open === 0) this.#drained?.();
  };
}
