import pg from "pg";
import { parsePostgresUrl, withoutPassword } from "../../config/postgres-url.ts";
import { messageOf, WakefulError } from "../../domain/errors.ts";
import { type DurationMs, seconds } from "../../domain/time.ts";
import { postgresMigrations } from "../migrations/postgres.ts";
import { ServerProof } from "./server-proof.ts";

/** What every connection to the server is opened with. */
export interface PostgresTarget {
  readonly config: pg.ClientConfig;
  /** What each connection says before anything else. */
  readonly settings: Readonly<Record<string, string>>;
  /** How long a statement or a turn may stay without an answer; then its socket is destroyed. Undefined: for ever. */
  readonly answerMs: DurationMs | undefined;
  /** Shared by all connections of one opening. */
  readonly proof: ServerProof;
  readonly schema: string;
  /** Opened for reading alone. */
  readonly readOnly: boolean;
  /** What error messages call the store: the url without its password. */
  readonly name: string;
}

export interface PostgresTargetOptions {
  /** `postgres://...`, with `?schema=name`; default `wakeful`. */
  readonly url: string;
  readonly readOnly?: boolean | undefined;
}

const int8Oid = 20;

/** @throws {WakefulError} `config_invalid`: the url cannot be read, or names a file that cannot. Its text never holds the password. */
export function postgresTarget(options: PostgresTargetOptions): PostgresTarget {
  const parsed = parsePostgresUrl(options.url);
  if (!parsed.ok) throw new WakefulError("config_invalid", `The store's URL ${parsed.rule}.`);
  const { connectionString, schema, name } = parsed.value;
  tryUrl(connectionString, name);
  return {
    schema,
    readOnly: options.readOnly === true,
    name,
    proof: new ServerProof(),
    // Longer than statement_timeout: the server's own word says more than a closed socket, and ends the statement too.
    answerMs: seconds(35),
    settings: {
      search_path: schema,
      // Without the schema's number, the store's tables take a program for one of before and refuse its writes.
      "wakeful.schema": String(postgresMigrations.length),
      // A claim that waited for another must see what that one took, whatever level the database or the role is set to.
      default_transaction_isolation: "read committed",
      ...(options.readOnly === true ? { default_transaction_read_only: "on" } : {}),
      // A session whose process stopped in the middle of a transaction gives its locks back by itself.
      idle_in_transaction_session_timeout: String(seconds(5)),
      // Longer than the server's deadlock_timeout of 1 s: else both sides of a deadlock would give up, and not the one that it picks.
      lock_timeout: String(lockTimeoutMs),
      statement_timeout: String(seconds(30)),
      // So that the server, too, notices within half a minute that a client is gone.
      tcp_keepalives_idle: "10",
      tcp_keepalives_interval: "5",
      tcp_keepalives_count: "4",
    },
    config: {
      connectionString,
      application_name: "wakeful",
      connectionTimeoutMillis: seconds(5),
      keepAlive: true,
      keepAliveInitialDelayMillis: seconds(5),
      types: { getTypeParser: parserOf },
    },
  };
}

const lockTimeoutMs: DurationMs = 1500;

/** The limits of statements that are known to be short: those of the hot path, of hints, and looks at the server. */
export function shortAnswers(target: PostgresTarget): PostgresTarget {
  return { ...target, answerMs: seconds(10), settings: { ...target.settings, statement_timeout: String(seconds(9)) } };
}

/**
 * Makes a client now: the driver reads certificates and parameters when it makes one, so an error shows here and not with each connection.
 */
function tryUrl(connectionString: string, name: string): void {
  try {
    void new pg.Client({ connectionString });
  } catch (thrown) {
    // Not as its cause: errors about URLs carry the whole URL along.
    throw new WakefulError("config_invalid", `The store's URL ${name} cannot be used: ${withoutPassword(messageOf(thrown))}`);
  }
}

/** Ids and instants are 8-byte integers, which the driver would answer as text: all of ours are safe integers. */
const parserOf: typeof pg.types.getTypeParser = (oid: number, format?: "text" | "binary"): ((text: string) => unknown) =>
  oid === int8Oid && format !== "binary" ? parseInt8 : (pg.types.getTypeParser(oid, format) as (text: string) => unknown);

function parseInt8(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`the integer ${text} does not fit a number`);
  return value;
}
