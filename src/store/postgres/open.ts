import { type Kysely, sql } from "kysely";
import { codeOf, messageOf, WakefulError } from "../../domain/errors.ts";
import type { StoreClock } from "../engine/engine.ts";
import { HintBoard } from "../engine/hint-board.ts";
import type { TellMigration } from "../engine/migration.ts";
import { checkSchema, migrate } from "../engine/migrator.ts";
import { lockStoreEpoch, readMeta, writeMeta } from "../engine/store-epoch.ts";
import type { StoreParts } from "../engine/store-parts.ts";
import type { Database } from "../engine/tables.ts";
import type { FirstChecks } from "../jobs/claim-rules.ts";
import { postgresMigrations } from "../migrations/postgres.ts";
import { StoreUnavailableError } from "../port/errors.ts";
import { newestInstant } from "../upkeep/newest-instant.ts";
import { raiseEpochIn } from "../upkeep/start-record.ts";
import { postgresTarget } from "./client-config.ts";
import { PostgresEngine } from "./engine.ts";
import { postgresFailure } from "./failures.ts";
import { HintChannel } from "./hint-channel.ts";
import { createHotVerbs } from "./hot-verbs.ts";
import { kyselyOn } from "./kysely-on.ts";
import { targetOf } from "./migration-target.ts";
import { refuseTransactionPooling } from "./pooler.ts";
import { ServerClock, type ServerTime } from "./server-clock.ts";
import type { ServerIdentity } from "./server-proof.ts";

export interface OpenPostgresOptions {
  readonly url: string;
  readonly clock: StoreClock;
  readonly poolSize?: number | undefined;
  readonly readOnly?: boolean | undefined;
  readonly checks?: FirstChecks | undefined;
  readonly tellMigration?: TellMigration | undefined;
}

export async function openPostgres(options: OpenPostgresOptions): Promise<StoreParts> {
  const { clock } = options;
  const readOnly = options.readOnly === true;
  const target = postgresTarget({ url: options.url, readOnly });
  const hints = new HintBoard();
  const mono = clock.mono?.bind(clock);
  const serverClock = mono === undefined ? undefined : new ServerClock({ mono, sample: async () => await serverTime(engine, mono) });
  const engine: PostgresEngine = new PostgresEngine({
    target,
    hints,
    poolSize: options.poolSize ?? 10,
    now: serverClock === undefined ? () => clock.now() : () => serverClock.now(),
  });
  const channel = new HintChannel({
    target,
    channel: `wakeful_${target.schema}`,
    heard: (heard) => hints.post(heard),
    reconnected: async () => await serverClock?.look(),
  });
  try {
    await refuseTransactionPooling(target);
    await serverClock?.start();
    if (readOnly) {
      await checkSchema(targetOf(engine), postgresMigrations);
    } else {
      await migrate(targetOf(engine), postgresMigrations, options.tellMigration);
      await followServers(engine);
      const newest = await newestInstant(engine.kysely);
      if (newest !== undefined) clock.floor?.(newest);
    }
    await channel.open();
    engine.useChannel(channel);
  } catch (thrown) {
    serverClock?.stop();
    await channel.close();
    await engine.close();
    // Some errors come from before the pool, as the driver made them.
    throw openingFailure(postgresFailure(thrown, target.name, target), target.name);
  }
  return {
    engine,
    hints,
    hot: createHotVerbs(engine, options.checks),
    onClockDoubt: serverClock?.onDoubt.bind(serverClock),
    release: async () => {
      serverClock?.stop();
      await channel.close();
      await engine.close();
    },
  };
}

/** Timed around the statement alone: the wait for a free connection tells nothing of the server. */
async function serverTime(engine: PostgresEngine, mono: () => number): Promise<ServerTime> {
  return await engine.kysely.connection().execute(async (db) => {
    const beforeMono = mono();
    const { rows } = await sql<{ now: number }>`select (extract(epoch from clock_timestamp()) * 1000)::double precision as now`.execute(db);
    const afterMono = mono();
    const [row] = rows;
    if (row === undefined) throw new Error("the server did not answer its time");
    return { beforeMono, server: row.now, afterMono };
  });
}

/** Authorisation was refused, or there is no such database: SQLSTATE classes 28 and 3D. */
const refused = /^(28|3D)[0-9A-Z]{3}$/;

const insufficientPrivilege = "42501";

/** Why a store could not be opened. Nobody tries again here, unlike a daemon that waits for its server. Anything else as it is. */
function openingFailure(thrown: unknown, store: string): unknown {
  const cause = thrown instanceof StoreUnavailableError ? thrown.cause : thrown;
  const code = codeOf(cause);
  // Tried under several addresses, a connection fails without a text of its own.
  const found = messageOf(cause) || String(code);
  if (code !== undefined && refused.test(code))
    return new WakefulError(
      "config_invalid",
      `${store} cannot be opened: ${found}. Check the user, the password and the database of its URL.`,
      {
        cause,
        details: { store },
      },
    );
  if (code === insufficientPrivilege)
    return new WakefulError(
      "config_invalid",
      `${store} cannot be opened: ${found}. Its role must own the schema and its tables: open it with the role that made them, or change their owner.`,
      { cause, details: { store } },
    );
  if (!(thrown instanceof StoreUnavailableError) || cause === undefined) return thrown;
  return new StoreUnavailableError(
    `${store} cannot be opened: ${found}. Check that its server runs, that the URL names its host and port, and that it can be reached from here; then start again.`,
    { cause, details: { store } },
  );
}

const serverIdentityKey = "server_identity";

/** From now on each connection that reaches another server raises the store epoch before its first statement. */
async function followServers(engine: PostgresEngine): Promise<void> {
  const { proof } = engine.target;
  proof.followWith(async (client, found) => await followServer(engine, kyselyOn(client), found));
  if (proof.known !== undefined) await followServer(engine, engine.kysely, proof.known);
}

/**
 * Raises the store epoch when the server or its timeline is another one than last time: a promotion or restore may have lost commits, and
 * with them ids that were given out.
 */
async function followServer(engine: PostgresEngine, db: Kysely<Database>, found: ServerIdentity): Promise<void> {
  const raised = await db.transaction().execute(async (tx) => {
    // Under a lock, so that of connections that notice at once one raises.
    await lockStoreEpoch(engine, tx);
    const before = await readMeta(tx, serverIdentityKey);
    if (before === found) return false;
    await writeMeta(tx, serverIdentityKey, found);
    if (before === undefined) return false;
    await raiseEpochIn(engine, tx, `the server was ${before} and is ${found}`);
    return true;
  });
  if (raised) engine.epochRaised();
}
