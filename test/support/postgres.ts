import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import pg from "pg";
import { inject } from "vitest";
import { postgresMigrations } from "../../src/store/migrations/postgres.ts";

/** A database of a test's own on a real PostgreSQL server. */
export interface TestDatabase {
  readonly name: string;
  /** Connection string for `pg.Pool` and for a store. */
  readonly url: string;
  /** Ends its connections and removes it. Repeated calls do nothing. */
  drop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface CreateDatabaseOptions {
  /** A database of this server to copy, schema and rows: for suites that migrate once. Nobody may be connected to it. */
  readonly template?: string;
  /** Another encoding than the server's usual one, such as `LATIN1`; not with a template. */
  readonly encoding?: string;
}

/** What a connection says of itself that reads and writes the store's tables past the store, like a program of this version. */
export const storeOptions = `-c search_path=wakeful -c wakeful.schema=${postgresMigrations.length}`;

let serverUrl: Promise<string> | undefined;

/**
 * Makes an empty database in about 50 ms; the first call of the test run starts the shared server. `WAKEFUL_TEST_POSTGRES_URL` (a role that
 * may create databases) names another server. What is left is dropped when the run ends.
 *
 * @example
 * const database = await createDatabase();
 * onTestFinished(() => database.drop());
 */
export async function createDatabase(options: CreateDatabaseOptions = {}): Promise<TestDatabase> {
  serverUrl ??= askForServer();
  const admin = await serverUrl;
  const name = `${inject("postgresNamePrefix")}${randomBytes(6).toString("hex")}`;
  const template = options.template === undefined ? "template0" : pg.escapeIdentifier(options.template);
  const encoding = options.encoding === undefined ? "" : ` encoding '${options.encoding}' lc_collate 'C' lc_ctype 'C'`;
  await queryOnce(admin, `create database ${name} template ${template}${encoding}`);
  const url = new URL(admin);
  url.pathname = `/${name}`;
  const drop = async (): Promise<void> => queryOnce(admin, `drop database if exists ${name} with (force)`);
  return { name, url: url.href, drop, [Symbol.asyncDispose]: drop };
}

/** Runs one statement on a connection of its own. */
export async function queryOnce(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

/** Asks the test run's main process, which owns the server: a test process may end long before the last one needs it. */
function askForServer(): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(inject("postgresSocket"));
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => {
      answer += chunk;
    });
    socket.once("error", reject);
    socket.once("end", () => {
      const { url, error } = JSON.parse(answer) as { url?: string; error?: string };
      if (url === undefined) reject(new Error(error ?? "the test run's main process did not answer"));
      else resolve(url);
    });
  });
}
