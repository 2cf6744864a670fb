import type { PostgresPool, PostgresPoolClient, PostgresQueryResult } from "kysely";
import pg from "pg";
import { type DurationMs, seconds } from "../../domain/time.ts";
import { storeClosed } from "../port/errors.ts";
import type { PostgresTarget } from "./client-config.ts";
import { isReadOnly, postgresFailure } from "./failures.ts";
import { StoreClient } from "./store-client.ts";

/** Kysely writes a statement per length of an IN list: beyond this many, new ones go unnamed and are planned each time. */
const namedStatementsMax = 400;

/** How long statements under way keep a pool open that is being closed. */
const closeMs: DurationMs = seconds(10);

/** The pool that Kysely's statements use: they are prepared once per connection, and their errors are the store's. */
export class StatementPool implements PostgresPool {
  readonly #pool: pg.Pool;
  readonly #target: PostgresTarget;
  readonly #clients = new WeakMap<pg.PoolClient, PostgresPoolClient>();
  readonly #names = new Map<string, string>();
  readonly #living = new Set<StoreClient>();
  #closed = false;

  constructor(options: { readonly target: PostgresTarget; readonly size: number }) {
    this.#target = options.target;
    const { target } = options;
    const { connectionTimeoutMillis } = target.config;
    class Client extends StoreClient {
      constructor() {
        super(target);
        living.add(this);
        this.once("end", () => living.delete(this));
      }
    }
    const living = this.#living;
    this.#pool = new pg.Pool({ Client, connectionTimeoutMillis, max: options.size, idleTimeoutMillis: 30_000 });
    // An unheard `error` of an idle connection would end the process. The pool has dropped that connection by now; the next statement opens
    // another, or fails.
    this.#pool.on("error", () => undefined);
  }

  async connect(): Promise<PostgresPoolClient> {
    if (this.#closed) throw storeClosed();
    try {
      const client = await this.#pool.connect();
      const known = this.#clients.get(client);
      if (known !== undefined) return known;
      const made = this.#wrap(client);
      this.#clients.set(client, made);
      return made;
    } catch (thrown) {
      throw postgresFailure(thrown, this.#target.name, this.#target);
    }
  }

  async end(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // What is under way may end; a connection that answers nothing must not keep the process.
    const patience = setTimeout(() => {
      for (const client of this.#living) client.destroy();
    }, closeMs);
    await this.#pool.end().finally(() => clearTimeout(patience));
  }

  #wrap(client: pg.PoolClient): PostgresPoolClient {
    let broken: Error | undefined;
    const query = async (text: string, values: readonly unknown[]): Promise<PostgresQueryResult<unknown>> => {
      try {
        // Without values the text goes as it is, so that a migration may hold many statements.
        const result =
          values.length === 0 ? await client.query(text) : await client.query({ ...this.#named(text), text, values: [...values] });
        return result as unknown as PostgresQueryResult<unknown>;
      } catch (thrown) {
        // The server has become a standby, and stays one: the connection that comes after leads to the one that writes.
        if (isReadOnly(thrown) && !this.#target.readOnly) broken = thrown as Error;
        throw postgresFailure(thrown, this.#target.name, this.#target);
      }
    };
    return { query: query as PostgresPoolClient["query"], release: () => client.release(broken) };
  }

  #named(text: string): { readonly name?: string } {
    const known = this.#names.get(text);
    if (known !== undefined) return { name: known };
    if (this.#names.size >= namedStatementsMax) return {};
    const name = `w${this.#names.size}`;
    this.#names.set(text, name);
    return { name };
  }
}
