import pg from "pg";
import type { DurationMs } from "../../domain/time.ts";
import type { PostgresTarget } from "./client-config.ts";

const drivers = pg.Client.prototype as { readonly query: (...sent: readonly unknown[]) => unknown };

/** How long a connection may take to take its leave before its socket is destroyed. */
const leaveMs: DurationMs = 1000;

/** The server answered nothing for as long as a statement may take. The code makes it "unavailable", like a lost connection. */
class NoAnswer extends Error {
  override readonly name = "NoAnswer";
  readonly code = "ETIMEDOUT";

  constructor(afterMs: DurationMs) {
    super(`no answer within ${afterMs / 1000} s, so the connection was closed`);
  }
}

/**
 * A connection of ours. It proves which server it has reached before its first statement. A statement that is not answered within the
 * target's limit destroys the socket: the server's own limits do not reach over a dead path.
 */
export class StoreClient extends pg.Client {
  readonly target: PostgresTarget;
  /** Statements that were sent, or wait to be. */
  #unanswered = 0;
  #limit: NodeJS.Timeout | undefined;

  constructor(target: PostgresTarget) {
    super(target.config);
    this.target = target;
    // An unheard `error` would end the process. Whoever waits for an answer is told by the driver.
    this.on("error", () => undefined);
    this.connection.on("readyForQuery", () => {
      this.#unanswered = Math.max(0, this.#unanswered - 1);
      this.#watch();
    });
    this.once("end", () => clearTimeout(this.#limit));
    // The driver's eight forms are one to us: whatever is sent is watched.
    this.query = ((...sent: readonly unknown[]) => {
      this.#unanswered += 1;
      if (this.#unanswered === 1) this.#watch();
      return Reflect.apply(drivers.query, this, sent);
    }) as pg.Client["query"];
  }

  /** Not of a pooler's making: the number of the server's process, as its notifications name it. */
  backendPid: number | undefined;

  override connect(): Promise<this>;
  override connect(callback: (thrown: Error | null, client?: this) => void): void;
  override connect(callback?: (thrown: Error | null, client?: this) => void): Promise<this> | void {
    if (callback === undefined) return this.#connect();
    void this.#connectThen(callback);
  }

  override end(): Promise<void>;
  override end(callback: (thrown: Error) => void): void;
  override end(callback?: (thrown: Error) => void): Promise<void> | void {
    // Without a limit, the leave of a dead path is waited for as long as an answer of it.
    const leave = setTimeout(() => this.destroy(), leaveMs).unref();
    this.once("end", () => clearTimeout(leave));
    return callback === undefined ? super.end() : super.end(callback);
  }

  /** Closes the socket at once. What waits for an answer fails with `why`. */
  destroy(why?: Error): void {
    this.connection.stream.destroy(why);
  }

  async #connect(): Promise<this> {
    await super.connect();
    try {
      this.backendPid = await this.target.proof.prove(this, this.target);
    } catch (thrown) {
      this.destroy();
      throw thrown;
    }
    return this;
  }

  async #connectThen(callback: (thrown: Error | null, client?: this) => void): Promise<void> {
    let failure: Error | null = null;
    try {
      await this.#connect();
    } catch (thrown) {
      failure = thrown instanceof Error ? thrown : new Error(String(thrown));
    }
    callback(failure, this);
  }

  #watch(): void {
    clearTimeout(this.#limit);
    const { answerMs } = this.target;
    if (this.#unanswered === 0 || answerMs === undefined) return;
    this.#limit = setTimeout(() => this.destroy(new NoAnswer(answerMs)), answerMs);
    this.#limit.unref();
  }
}
