import { createRequire } from "node:module";
import { DatabaseSync } from "@photostructure/sqlite";
import pg from "pg";
import { onTestFinished, vi } from "vitest";
import { StoreClient } from "../../src/store/postgres/store-client.ts";
import { SqliteConnection } from "../../src/store/sqlite/connection.ts";

/** One statement that a program sent, and what it was sent with. */
export interface SentStatement {
  readonly text: string;
  readonly values: readonly unknown[];
  /** Settings of the connection that it went over; none on the embedded engine. */
  readonly options: string;
}

/** A step of a statement's plan that reads more than it was asked for. */
export interface WholeRead {
  readonly table: string;
  readonly step: string;
  readonly text: string;
}

const isPlanned = (text: string): boolean => /^\s*(select|insert|update|delete|with)\b/i.test(text);

/** The newest page of a list: a walk in the order of the key that its limit ends. */
const isNewestPage = (text: string): boolean => {
  const asked = /\bfrom "?(?:jobs|items|runs|duplicates|action_logs)"?(?: where 1 = 1)? order by \S*\bid"? desc limit \S+\)?\s*$/i;
  return asked.test(text.replaceAll(/\s+/g, " "));
};

/** Records every statement that this process sends from here on, over any connection, so that no list can miss one. */
export function recordSqlite(): ReadonlyMap<string, SentStatement> {
  const sent = new Map<string, SentStatement>();
  const { prepared } = SqliteConnection.prototype;
  const spy = vi.spyOn(SqliteConnection.prototype, "prepared").mockImplementation(function (this: SqliteConnection, text) {
    if (isPlanned(text)) sent.set(text, { text, values: [], options: "" });
    return prepared.call(this, text);
  });
  onTestFinished(() => spy.mockRestore());
  return sent;
}

/** The same for a server. */
export function recordPostgres(): ReadonlyMap<string, SentStatement> {
  const sent = new Map<string, SentStatement>();
  const query = pg.Client.prototype.query as (...args: readonly unknown[]) => unknown;
  const spy = vi.spyOn(pg.Client.prototype, "query").mockImplementation(function (this: pg.Client, ...args: readonly unknown[]) {
    const settings = this instanceof StoreClient ? Object.entries(this.target.settings) : [];
    const options = settings.map(([name, value]) => `-c ${name}=${value.replaceAll(" ", "\\ ")}`).join(" ");
    for (const { text, values } of statementsOf(args)) if (isPlanned(text)) sent.set(text, { text, values, options });
    return query.apply(this, [...args]);
  });
  onTestFinished(() => spy.mockRestore());
  return sent;
}

interface DriverQuery {
  readonly name?: string;
  readonly text?: string;
  readonly values?: readonly unknown[];
  /** Of a turn of the hot path. */
  readonly statements?: readonly { readonly name: string; readonly text: string; readonly values: readonly unknown[] }[];
}

/** The statements of one call of the driver's `query`. */
export function statementsOf([first, second]: readonly unknown[]): readonly (Omit<SentStatement, "options"> & {
  readonly name?: string | undefined;
})[] {
  const { name, text, values = second, statements } = (typeof first === "string" ? { text: first } : first) as DriverQuery;
  if (statements !== undefined) return statements;
  return text === undefined ? [] : [{ name, text, values: Array.isArray(values) ? values : [] }];
}

/** Steps that walk a table, or an index whose condition does not bound the walk; partial indexes hold only what they are named for. */
export function sqliteWholeReads(path: string, sent: Iterable<SentStatement>): readonly WholeRead[] {
  const database = new DatabaseSync(path);
  try {
    const partial = new Set(
      (database.prepare("select name from sqlite_schema where type = 'index' and sql like '% where %'").all() as { name: string }[]).map(
        ({ name }) => name,
      ),
    );
    const tables = new Set(
      (database.prepare("select name from sqlite_schema where type = 'table'").all() as { name: string }[]).map(({ name }) => name),
    );
    return [...sent].flatMap(({ text }) => {
      const steps = (database.prepare(`explain query plan ${text}`).all() as { detail: string }[]).map(({ detail }) => detail);
      return steps.flatMap((step): WholeRead[] => {
        const [, name = "", rest = ""] = /^SCAN (\S+)(?: (.*))?$/.exec(step) ?? [];
        if (name === "" || isNewestPage(text) || rest.includes("VIRTUAL TABLE") || rest.includes("CONSTANT ROW")) return [];
        const index = /USING (?:COVERING )?INDEX (\S+)/.exec(rest)?.[1];
        if (index !== undefined && partial.has(index)) return [];
        const table = tables.has(name) ? name : tableOfAlias(text, name, tables);
        return table === undefined ? [] : [{ table, step, text }];
      });
    });
  } finally {
    database.close();
  }
}

/** Which table an alias stands for; undefined: a part of the statement itself. */
function tableOfAlias(text: string, alias: string, tables: ReadonlySet<string>): string | undefined {
  for (const [, table = ""] of text.matchAll(new RegExp(`"?(\\w+)"?\\s+(?:as\\s+)?"?${alias}"?\\b`, "gi")))
    if (tables.has(table)) return table;
  return undefined;
}

interface PlanNode {
  readonly "Node Type": string;
  readonly "Relation Name"?: string;
  readonly "Index Name"?: string;
  readonly "Index Cond"?: string;
  readonly Filter?: string;
  readonly Plans?: readonly PlanNode[];
}

const driver = createRequire(import.meta.url)("pg/lib/utils.js") as { readonly prepareValue: (value: unknown) => string | null };

/** Sequential scans, and walks of an index that neither a condition nor the index's own `where` bounds. */
export async function postgresWholeReads(url: string, sent: Iterable<SentStatement>): Promise<readonly WholeRead[]> {
  const clients = new Map<string, pg.Client>();
  const clientFor = async (options: string): Promise<pg.Client> => {
    const known = clients.get(options);
    if (known !== undefined) return known;
    const client = new pg.Client({ connectionString: url, options });
    await client.connect();
    clients.set(options, client);
    return client;
  };
  try {
    const found: WholeRead[] = [];
    let partial: ReadonlySet<string> | undefined;
    for (const [number, { text, values, options }] of [...sent].entries()) {
      const client = await clientFor(options);
      partial ??= new Set(
        (
          await client.query<{ name: string }>("select indexrelid::regclass::text as name from pg_index where indpred is not null")
        ).rows.map(({ name }) => name.replace(/^.*\./, "")),
      );
      await client.query(`prepare seen_${number} as ${text}`);
      const literals = values.map((value) => {
        const literal = driver.prepareValue(value);
        return literal === null ? "null" : pg.escapeLiteral(literal);
      });
      const { rows } = await client.query<{ "QUERY PLAN": readonly { readonly Plan: PlanNode }[] }>(
        `explain (format json) execute seen_${number}${literals.length === 0 ? "" : `(${literals.join(", ")})`}`,
      );
      const plan = rows[0]?.["QUERY PLAN"][0]?.Plan;
      if (plan !== undefined) found.push(...wholeReadsOf(plan, text, partial));
    }
    return found;
  } finally {
    for (const client of clients.values()) await client.end();
  }
}

function wholeReadsOf(node: PlanNode, text: string, partial: ReadonlySet<string>, isLimited = false): readonly WholeRead[] {
  const { "Node Type": type, "Relation Name": table, "Index Name": index, "Index Cond": condition, Filter: filter } = node;
  const below = (node.Plans ?? []).flatMap((child) => wholeReadsOf(child, text, partial, type === "Limit"));
  // The first entry of an index, as for a maximum, or a page in its order: every row read is answered.
  const isEnded = isLimited && filter === undefined;
  const walksIndex = /Index/.test(type) && condition === undefined && !partial.has(index ?? "") && !isEnded;
  if (isNewestPage(text) || !(type === "Seq Scan" || walksIndex)) return below;
  // The index part of a bitmap scan names no table.
  const of = table ?? `the table of ${index ?? "?"}`;
  return [{ table: of, step: `${type}${index === undefined ? "" : ` of ${index}`}`, text }, ...below];
}
