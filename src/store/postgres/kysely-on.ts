import { Kysely, PostgresDialect, type PostgresPoolClient } from "kysely";
import type pg from "pg";
import type { Database } from "../engine/tables.ts";

/** Typed statements on one connection that its caller opened and ends. One at a time. */
export function kyselyOn(client: pg.Client): Kysely<Database> {
  const lent = {
    query: async (text: string, values: readonly unknown[]) =>
      // Without values the text goes as it is, so that it may hold many statements.
      await (values.length === 0 ? client.query(text) : client.query(text, [...values])),
    release: () => undefined,
  };
  const pool = { connect: async () => lent as unknown as PostgresPoolClient, end: async () => undefined };
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
}
