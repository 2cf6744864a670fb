import type { EarlierStore } from "./earlier-store.ts";

type Query = EarlierStore["query"];

/** The schema, one line for each part: columns, keys, checks, indexes, triggers and their functions. Two stores with the same lines accept the same rows. */
export async function schemaLines(engine: "sqlite" | "postgres", query: Query): Promise<readonly string[]> {
  const lines = engine === "sqlite" ? await sqliteLines(query) : await postgresLines(query);
  return [...lines].sort();
}

/** What one schema has and the other does not. */
export function schemaChange(before: readonly string[], after: readonly string[]) {
  return { gone: before.filter((line) => !after.includes(line)), new: after.filter((line) => !before.includes(line)) };
}

/** What was added to a table later stands behind its last line. */
const addedColumn = /, (?=\w+ (?:integer|text|real)\b)/;

/**
 * A table's text holds its columns and constraints, one a line; indexes and triggers are one line each. The engine keeps what was written,
 * and puts a name into quotes when it changes it.
 */
async function sqliteLines(query: Query): Promise<readonly string[]> {
  const rows = await query(`select type, name, tbl_name, replace(coalesce(sql, ''), '"', '') as text from sqlite_schema`);
  return rows.flatMap(({ type, name, tbl_name: table, text }) => {
    if (type !== "table") return [`${String(type)} ${String(name)} on ${String(table)}: ${String(text)}`];
    const parts = String(text)
      .split("\n")
      .slice(1, -1)
      .flatMap((part) => part.split(addedColumn));
    const said = parts.map((part) => part.trim().replace(/,$/, "")).filter((part) => !part.startsWith("--"));
    return [`table ${String(name)} ${parts.length === 0 ? String(text) : ""}`.trim(), ...said.map((part) => `${String(name)}: ${part}`)];
  });
}

/** Newer servers list what must not be null as constraints too; the columns say it already. */
async function postgresLines(query: Query): Promise<readonly string[]> {
  const rows = await query(`
    select table_name || ': ' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '')
      || coalesce(' identity ' || identity_generation, '') as line
      from information_schema.columns where table_schema = 'wakeful'
    union all select conrelid::regclass || ': ' || pg_get_constraintdef(oid) from pg_constraint
      where connamespace = 'wakeful'::regnamespace and contype <> 'n'
    union all select indexdef from pg_indexes where schemaname = 'wakeful'
    union all select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
    union all select pg_get_functiondef(oid) from pg_proc where pronamespace = 'wakeful'::regnamespace
    union all select 'options of ' || oid::regclass || ': ' || reloptions::text from pg_class
      where relnamespace = 'wakeful'::regnamespace and reloptions is not null`);
  return rows.map(({ line }) => String(line));
}
