import { CompiledQuery, Kysely, PostgresDialect, sql, type Transaction } from "kysely";
import { firstIdOfEpoch } from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import { BeginAgain, type Engine } from "../engine/engine.ts";
import type { HintBoard } from "../engine/hint-board.ts";
import type { Database } from "../engine/tables.ts";
import type { KeptForReaders } from "../port/old-readers.ts";
import type { StoreHint } from "../port/store.ts";
import type { PostgresTarget } from "./client-config.ts";
import { mayRunAgain, postgresFailure } from "./failures.ts";
import type { HintChannel } from "./hint-channel.ts";
import { laneTurns } from "./lanes.ts";
import { oldTransactions } from "./old-transactions.ts";
import { StatementPool } from "./pool.ts";

/** How often a transaction is begun in all before its deadlock or lock timeout is the caller's. */
const triesMax = 5;
/** The same after {@link BeginAgain}, which comes before any wait: each time the item has moved on. */
const quickTriesMax = 100;

export interface PostgresEngineOptions {
  readonly target: PostgresTarget;
  readonly hints: HintBoard;
  readonly now: () => Instant;
  readonly poolSize: number;
}

/** The server engine: ordinary statements on a pool; hot lanes open connections of their own to its `target`. */
export class PostgresEngine implements Engine {
  readonly target: PostgresTarget;
  readonly kysely: Kysely<Database>;
  readonly now: () => Instant;
  readonly capabilities = { manyWriters: true, notifies: true, blocksEventLoop: false, rowLocks: true, turns: laneTurns } as const;
  readonly predicates = { paused: sql<boolean>`jobs.paused is true` };
  readonly #hints: HintBoard;
  readonly #pool: StatementPool;
  #channel: HintChannel | undefined;

  constructor(options: PostgresEngineOptions) {
    this.target = options.target;
    this.#pool = new StatementPool({ target: options.target, size: options.poolSize });
    this.kysely = new Kysely<Database>({ dialect: new PostgresDialect({ pool: this.#pool }) });
    this.now = options.now;
    this.#hints = options.hints;
  }

  /** Kysely itself stays usable, so that later calls get the store's own answer: closed. */
  async close(): Promise<void> {
    await this.#pool.end();
  }

  /** From now on hints go to other processes too. */
  useChannel(channel: HintChannel): void {
    this.#channel = channel;
  }

  async rows<Row>(statement: string, parameters: readonly unknown[]): Promise<readonly Row[]> {
    const { rows } = await this.kysely.executeQuery<Row>(CompiledQuery.raw(statement, [...parameters]));
    return rows;
  }

  async transaction<T>(body: (tx: Transaction<Database>) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.kysely.transaction().execute(body);
      } catch (thrown) {
        const most = thrown instanceof BeginAgain ? quickTriesMax : triesMax;
        if (tries >= most || !mayRunAgain(thrown)) throw postgresFailure(thrown, this.target.name, this.target);
      }
    }
  }

  async snapshot<T>(body: (tx: Transaction<Database>) => Promise<T>): Promise<T> {
    return await this.kysely.transaction().setIsolationLevel("repeatable read").setAccessMode("read only").execute(body);
  }

  /** Own hints and those of other processes. */
  onHint(listener: (hint: StoreHint) => void): void {
    this.#hints.listen(listener);
  }

  hint(...hints: readonly StoreHint[]): void {
    this.#hints.post(hints);
    this.#channel?.send(hints);
  }

  async moveRunIds(tx: Transaction<Database>, epoch: number): Promise<void> {
    await sql`select setval('run_ids', ${firstIdOfEpoch(epoch) + 1}::bigint, false)`.execute(tx);
  }

  epochRaised(): void {
    // The sequence has no cache: every session's next id is of the new epoch.
  }

  async sizeBytes(): Promise<number> {
    const { rows } = await sql<{ bytes: number }>`select coalesce(sum(pg_total_relation_size(oid)), 0)::bigint as bytes
      from pg_class where relnamespace = to_regnamespace(${this.target.schema}) and relkind = 'r'`.execute(this.kysely);
    return rows[0]?.bytes ?? 0;
  }

  async keptForReaders(): Promise<KeptForReaders> {
    return { log: null, transactions: await oldTransactions(this.kysely) };
  }

  async integrityCheck(): Promise<readonly string[]> {
    const { rows } = await sql<{ name: string }>`select indexrelid::regclass::text as name
      from pg_index join pg_class on pg_class.oid = indrelid
      where relnamespace = to_regnamespace(${this.target.schema}) and not indisvalid`.execute(this.kysely);
    return rows.map((row) => `index ${row.name} is not valid: REINDEX it`);
  }
}
