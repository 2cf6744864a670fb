import pg from "pg";
import type { StoreHint } from "../store.ts";

/** At most one NOTIFY per this long: they are cheap, but each one takes a lock that all notifying commits share. */
const quietMs = 5;
const reconnectMinMs = 100;
const reconnectMaxMs = 5_000;

const allHints: readonly StoreHint[] = ["jobs", "blocked", "outbox", "leases", "workers", "scheduled", "items"];
const known = new Set<string>(allHints);

export interface HintChannelOptions {
  readonly config: pg.ClientConfig;
  /** The name both ends listen on. */
  readonly channel: string;
  /** Hints of other processes; after a reconnection all of them, because some may have been missed. */
  readonly heard: (hints: readonly StoreHint[]) => void;
  /** Done on each connection but the first before it counts as one; a rejection makes it try again. */
  readonly reconnected: () => Promise<void>;
}

/**
 * Hints between processes, on a connection of its own so that NOTIFY is never part of a transaction that others wait for.
 * Closed -> connecting -> listening -> (connection lost) -> waiting -> connecting. Losing hints is allowed; they are sent when it listens.
 */
export class HintChannel {
  readonly #options: HintChannelOptions;
  readonly #pending = new Set<StoreHint>();
  #client: pg.Client | undefined;
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
    this.#client = await this.#connect();
  }

  send(hints: Iterable<StoreHint>): void {
    for (const hint of hints) this.#pending.add(hint);
    // The first one goes at once; what comes within the quiet time goes together at its end.
    if (!this.#busy) this.#flush();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#quiet);
    clearTimeout(this.#waiting);
    await this.#client?.end();
  }

  #flush(): void {
    const client = this.#client;
    if (this.#pending.size === 0 || client === undefined || this.#closed) return;
    const payload = [...this.#pending].join(",");
    this.#pending.clear();
    void this.#notify(client, payload);
  }

  /** Sends one and keeps quiet for a while after it, however long the server took. */
  async #notify(client: pg.Client, payload: string): Promise<void> {
    this.#busy = true;
    try {
      await client.query("select pg_notify($1, $2)", [this.#options.channel, payload]);
    } catch {
      // A connection that broke reports as an event of its own, and a lost hint is caught up with by every loop's period.
    }
    this.#quiet = setTimeout(() => {
      this.#busy = false;
      this.#flush();
    }, quietMs);
    this.#quiet.unref();
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client(this.#options.config);
    let lost = false;
    const onLost = (): void => {
      if (lost) return;
      lost = true;
      if (this.#client === client) {
        this.#client = undefined;
        this.#reconnectLater();
      }
    };
    client.on("error", onLost);
    client.on("end", onLost);
    client.on("notification", (message) => this.#hear(client, message));
    await client.connect();
    await client.query(`listen ${pg.escapeIdentifier(this.#options.channel)}`);
    return client;
  }

  #hear(client: pg.Client, message: pg.Notification): void {
    // Our own come back as well; they were told here when they were sent.
    if (message.processId === Reflect.get(client, "processID")) return;
    const hints = (message.payload ?? "").split(",").filter((hint): hint is StoreHint => known.has(hint));
    if (hints.length > 0) this.#options.heard(hints);
  }

  #reconnectLater(): void {
    if (this.#closed) return;
    this.#waiting = setTimeout(() => void this.#reconnect(), this.#retryMs);
    this.#waiting.unref();
    this.#retryMs = Math.min(this.#retryMs * 2, reconnectMaxMs);
  }

  async #reconnect(): Promise<void> {
    let client: pg.Client | undefined;
    try {
      client = await this.#connect();
      await this.#options.reconnected();
    } catch {
      // The server is not back yet: the connection is given up, and tried again after a longer wait.
      await client?.end().catch(() => undefined);
      this.#reconnectLater();
      return;
    }
    if (this.#closed) {
      await client.end();
      return;
    }
    this.#client = client;
    this.#retryMs = reconnectMinMs;
    this.#options.heard(allHints);
    if (!this.#busy) this.#flush();
  }
}
