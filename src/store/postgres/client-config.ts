import pg from "pg";

/** What every connection to the server is opened with. */
export interface PostgresTarget {
  readonly config: pg.ClientConfig;
  readonly schema: string;
  /** What error messages call the store: the url without its password. */
  readonly name: string;
}

export interface PostgresTargetOptions {
  /** `postgres://...`, with `?schema=name`; default `wakeful`. */
  readonly url: string;
  readonly readOnly?: boolean;
}

const schemaPattern = /^[a-z_][a-z0-9_]{0,40}$/;
const int8Oid = 20;

export function postgresTarget(options: PostgresTargetOptions): PostgresTarget {
  const url = new URL(options.url);
  const schema = url.searchParams.get("schema") ?? "wakeful";
  if (!schemaPattern.test(schema))
    throw new RangeError(`schema ${JSON.stringify(schema)}: lower-case letters, digits and _ only, at most 41`);
  url.searchParams.delete("schema");
  const connectionString = url.href;
  url.password = "";
  url.search = "";
  const settings = [`-c search_path=${schema}`, ...(options.readOnly === true ? ["-c default_transaction_read_only=on"] : [])];
  return {
    schema,
    name: url.href,
    config: {
      connectionString,
      application_name: "wakeful",
      options: settings.join(" "),
      // A session whose process stopped in the middle of a transaction gives its locks back by itself.
      idle_in_transaction_session_timeout: 5_000,
      // Longer than the server's deadlock_timeout of 1 s: else both sides of a deadlock would give up, and not the one that it picks.
      lock_timeout: 1_500,
      statement_timeout: 30_000,
      connectionTimeoutMillis: 5_000,
      keepAlive: true,
      keepAliveInitialDelayMillis: 5_000,
      types: { getTypeParser: parserOf },
    },
  };
}

/** Ids and instants are 8-byte integers, which the driver would answer as text: all of ours are safe integers. */
const parserOf: typeof pg.types.getTypeParser = (oid: number, format?: "text" | "binary"): ((text: string) => unknown) =>
  oid === int8Oid && format !== "binary" ? parseInt8 : (pg.types.getTypeParser(oid, format) as (text: string) => unknown);

function parseInt8(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`the integer ${text} does not fit a number`);
  return value;
}
