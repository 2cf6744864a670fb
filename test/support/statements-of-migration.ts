import { CompiledQuery } from "kysely";
import type { MigrationTarget } from "../../src/store/engine/migrator.ts";
import type { PreparedStatement, SqliteConnection } from "../../src/store/sqlite/connection.ts";

/** The statements of a text; a body between `$$` is part of its statement. */
function statementsOf(text: string): readonly string[] {
  return text
    .split(/;\n(?=(?:[^$]*\$\$[^$]*\$\$)*[^$]*$)/)
    .map((statement) => statement.trim())
    .filter((statement) => statement.replaceAll(/^--.*$/gm, "").trim() !== "");
}

/** A target that sends a text statement by statement, and moves few rows a slice: it can be killed in many places. */
export function inManyStatements(target: MigrationTarget): MigrationTarget {
  return {
    ...target,
    sliceRowsMax: 4,
    alone: async (body, hears) =>
      await target.alone(
        async (session) =>
          await body({
            ...session,
            runText: async (tx, text) => {
              for (const statement of statementsOf(text)) await tx.executeQuery(CompiledQuery.raw(statement));
            },
          }),
        hears,
      ),
  };
}

/** Calls `before` ahead of each statement of the connection, `begin` and `commit` too. */
export function beforeEachStatement(connection: SqliteConnection, before: () => void): void {
  const prepared = connection.prepared.bind(connection);
  connection.prepared = (text): PreparedStatement => {
    before();
    return prepared(text);
  };
}
