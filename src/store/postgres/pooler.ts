import pg from "pg";
import { codeOf, messageOf, WakefulError } from "../../domain/errors.ts";
import { seconds } from "../../domain/time.ts";
import type { PostgresTarget } from "./client-config.ts";

/**
 * Refuses a pooler that gives each transaction another session of the server. A session's settings, locks and prepared statements would be
 * somebody else's then. Says no setting itself: it would stay behind with an application that shares the pool.
 *
 * @throws {WakefulError} `config_invalid`: it is one.
 */
export async function refuseTransactionPooling(target: PostgresTarget): Promise<void> {
  const first = await connect(target);
  try {
    const pid = await pidOf(first);
    // What a connection was told at its start names the server's own process, unless a pooler stands between.
    if (Reflect.get(first, "processID") === pid) return;
    const second = await connect(target);
    try {
      await second.query("begin");
      // The second one holds a session now. If it is that of the first, or the first has to take another, none of them keeps one.
      if ((await pidOf(second)) === pid || (await pidOf(first)) !== pid) throw poolsTransactions(target);
    } catch (thrown) {
      throw poolsStatements(thrown) ? poolsTransactions(target) : thrown;
    } finally {
      await leave(second);
    }
  } finally {
    await leave(first);
  }
}

async function connect(target: PostgresTarget): Promise<pg.Client> {
  const client = new pg.Client({ ...target.config, query_timeout: seconds(10) });
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

async function pidOf(client: pg.Client): Promise<number | undefined> {
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  return rows[0]?.pid;
}

async function leave(client: pg.Client): Promise<void> {
  const patience = setTimeout(() => client.connection.stream.destroy(), seconds(1));
  // Ending an open transaction's connection takes it back.
  await client.end().finally(() => clearTimeout(patience));
}

/** PgBouncer's own words, in the class of protocol errors. */
const poolsStatements = (thrown: unknown): boolean => codeOf(thrown) === "08P01" && /statement pooling/i.test(messageOf(thrown));

function poolsTransactions({ name }: PostgresTarget): WakefulError {
  return new WakefulError(
    "config_invalid",
    `${name} is a pooler that gives each transaction another session, and Wakeful needs sessions of its own. Set pool_mode = session for this database in PgBouncer, or name the server itself in the URL.`,
    { details: { store: name } },
  );
}
