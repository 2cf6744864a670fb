import type { WorkerBackend } from "../worker-backend.ts";
import type { ChannelVerb, PipeChannel } from "./pipe-channel.ts";
import type { StoreTime } from "./store-time.ts";

/** The verbs that cross the pipe; the others are answered on this side. */
type Verb = Exclude<keyof WorkerBackend, "now" | "onJobs">;

/** A verb that this record lacks does not compile. */
const crossing: Readonly<Record<Verb, true>> = {
  hello: true,
  claim: true,
  start: true,
  command: true,
  beat: true,
  renew: true,
  end: true,
  reading: true,
  adopt: true,
  drain: true,
  leave: true,
};

/** A backend's verbs as the other end of a pipe may call them. */
export function pipeVerbs(backend: WorkerBackend): Record<Verb, ChannelVerb> {
  const callable = backend as unknown as Readonly<Record<Verb, ChannelVerb>>;
  return Object.fromEntries(
    (Object.keys(crossing) as Verb[]).map((verb) => [verb, async (...args: never[]) => await callable[verb](...args)]),
  ) as Record<Verb, ChannelVerb>;
}

/** The worker service at the other end of a pipe. */
export class PipeBackend implements WorkerBackend {
  readonly #channel: PipeChannel;
  readonly #time: StoreTime;
  readonly #listeners = new Set<() => void>();

  readonly hello = this.#verb("hello");
  readonly claim = this.#verb("claim");
  readonly start = this.#verb("start");
  readonly command = this.#verb("command");
  readonly beat = this.#verb("beat");
  readonly renew = this.#verb("renew");
  readonly end = this.#verb("end");
  readonly reading = this.#verb("reading");
  readonly adopt = this.#verb("adopt");
  readonly drain = this.#verb("drain");
  readonly leave = this.#verb("leave");

  constructor(channel: PipeChannel, time: StoreTime) {
    this.#channel = channel;
    this.#time = time;
  }

  now(): ReturnType<WorkerBackend["now"]> {
    return this.#time.now();
  }

  onJobs(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The other end reported that there may be jobs. */
  jobsHinted(): void {
    for (const listener of this.#listeners) listener();
  }

  #verb<Name extends Verb>(name: Name): WorkerBackend[Name] {
    return (async (...args: readonly unknown[]) => await this.#channel.call(name, ...args)) as WorkerBackend[Name];
  }
}
