import pg from "pg";
import type { StoreHint } from "../port/store.ts";
import { type PostgresTarget, shortAnswers } from "./client-config.ts";
import { StoreClient } from "./store-client.ts";

/** At most one NOTIFY per this long: they are cheap, but each one takes a lock that all notifying commits share. */
const quietMs = 5;
/** How often the connection is asked for a sign of life: who only listens would never learn that nothing arrives any more. */
const askEveryMs = 15_000;
const reconnectMinMs = 100;
const reconnectMaxMs = 5_000;

const allHints: readonly StoreHint[] = ["jobs", "blocked", "outbox", "leases", "workers", "scheduled", "items"];
const known = new Set<string>(allHints);

export interface HintChannelOptions {
  readonly target: PostgresTarget;
  /** The name both ends listen on. */
  readonly channel: string;
  /** Hints of other processes; after a reconnection all of them, because some may have been missed. */
  readonly heard: (hints: readonly StoreHint[]) => void;
  /** Done on each connection but the first before it counts as one; a rejection makes it try again. */
  readonly reconnected: () => Promise<void>;
}

interface Listening {
  readonly client: StoreClient;
  lost: boolean;
}

/**
 * Passes hints between processes. Its own connection keeps NOTIFY out of transactions that others wait for. Closed -> connecting ->
 * listening -> (connection lost) -> waiting -> connecting. Hints may be lost; they are sent while it listens.
 */
export class HintChannel {
  readonly #options: HintChannelOptions;
  readonly #pending = new Set<StoreHint>();
  #listening: Listening | undefined;
  #reconnecting: Promise<void> | undefined;
  #asking: NodeJS.Timeout | undefined;
  #quiet: NodeJS.Timeout | undefined;
  #busy = false;
  #waiting: NodeJS.Timeout | undefined;
  #retryMs = reconnectMinMs;
  #closed = false;

  constructor(options: HintChannelOptions) {
    this.#options = options;
  }

  /** Rejects when the first connection fails; later ones are tried until they come about. */
  async open(): Promise<void> {
    this.#listening = await this.#connect();
    // An answer that does not come closes the connection, which reports as an event of its own.
    this.#asking = setInterval(() => void this.#listening?.client.query("select 1").catch(() => undefined), askEveryMs);
    this.#asking.unref();
  }

  send(hints: Iterable<StoreHint>): void {
    for (const hint of hints) this.#pending.add(hint);
    // The first one goes at once; what comes within the quiet time goes together at its end.
    if (!this.#busy) this.#flush();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#asking);
    clearTimeout(this.#quiet);
    clearTimeout(this.#waiting);
    await this.#reconnecting;
    await this.#listening?.client.end();
  }

  #flush(): void {
    const client = this.#listening?.client;
    if (this.#pending.size === 0 || client === undefined || this.#closed) return;
    const payload = [...this.#pending].join(",");
    this.#pending.clear();
    this.#notify(client, payload);
  }

  /** Sends one and keeps quiet for a while after it, however long the server took. */
  #notify(client: StoreClient, payload: string): void {
    this.#busy = true;
    const keepQuiet = (): void => {
      this.#quiet = setTimeout(() => {
        this.#busy = false;
        this.#flush();
      }, quietMs);
      this.#quiet.unref();
    };
    // Quiet after a failure too: a broken connection reports as an event of its own, and each loop's period makes up for a lost hint.
    const values = [this.#options.channel, payload];
    client.query({ name: "notify", text: "select pg_notify($1, $2)", values }).then(keepQuiet, keepQuiet);
  }

  async #connect(): Promise<Listening> {
    const client = new StoreClient(channelTarget(this.#options.target));
    const listening = { client, lost: false };
    const onLost = (): void => {
      listening.lost = true;
      if (this.#listening !== listening) return;
      this.#listening = undefined;
      this.#reconnectLater();
    };
    client.on("error", onLost);
    client.on("end", onLost);
    client.on("notification", (message) => this.#hear(client, message));
    try {
      await client.connect();
      await client.query(`listen ${pg.escapeIdentifier(this.#options.channel)}`);
      return listening;
    } catch (thrown) {
      await quietlyEnd(client);
      throw thrown;
    }
  }

  #hear(client: StoreClient, message: pg.Notification): void {
    // Our own hints come back as well; the listeners here got them when they were sent.
    if (message.processId === client.backendPid) return;
    const hints = (message.payload ?? "").split(",").filter((hint): hint is StoreHint => known.has(hint));
    if (hints.length > 0) this.#options.heard(hints);
  }

  #reconnectLater(): void {
    if (this.#closed) return;
    this.#waiting = setTimeout(() => {
      this.#reconnecting = this.#reconnect();
    }, this.#retryMs);
    this.#waiting.unref();
    this.#retryMs = Math.min(this.#retryMs * 2, reconnectMaxMs);
  }

  /** Never rejects: it tries again later, until it is closed. */
  async #reconnect(): Promise<void> {
    let listening: Listening | undefined;
    try {
      listening = await this.#connect();
      await this.#options.reconnected();
    } catch {
      // The server is not back yet, or not for long: the connection is given up, and tried again after a longer wait.
      if (listening !== undefined) listening.lost = true;
    }
    if (listening === undefined || listening.lost || this.#closed) {
      if (listening !== undefined) await quietlyEnd(listening.client);
      this.#reconnectLater();
      return;
    }
    this.#listening = listening;
    this.#retryMs = reconnectMinMs;
    this.#options.heard(allHints);
    if (!this.#busy) this.#flush();
  }
}

/** A NOTIFY is delivered after its commit. A hint may be lost, so it does not wait for the disk. */
function channelTarget(target: PostgresTarget): PostgresTarget {
  const short = shortAnswers(target);
  return { ...short, settings: { ...short.settings, synchronous_commit: "off" } };
}

async function quietlyEnd(client: StoreClient): Promise<void> {
  // It is given up because it is broken; that ending it fails too is no news.
  await client.end().catch(() => undefined);
}
