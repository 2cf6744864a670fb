import { DatabaseSync } from "@photostructure/sqlite";
import pg from "pg";
import type { JobId } from "../../src/index.ts";
import { isServer } from "./ask-store.ts";
import { holderName } from "./held-snapshot.ts";

/** Resolves when these jobs are done in the store, as a reader beside the engine sees it: one cheap statement, not one a job. */
export interface SettledWatch {
  settled(ids: readonly JobId[]): Promise<void>;
  close(): Promise<void>;
}

/** To be opened before jobs are worked off: it connects now. */
export async function openSettledWatch(store: string): Promise<SettledWatch> {
  if (!isServer(store)) {
    const db = new DatabaseSync(store, { readOnly: true });
    const statement = db.prepare("select count(*) as left from json_each(?) i join jobs j on j.id = i.value where j.state <> 'done'");
    const left = async (ids: readonly JobId[]): Promise<number> => (statement.get(JSON.stringify(ids)) as { left: number }).left;
    return { settled: (ids) => untilNone(() => left(ids)), close: async () => db.close() };
  }
  const client = new pg.Client({ connectionString: store, application_name: holderName });
  await client.connect();
  const text = "select /* wakeful-bench */ count(*) as left from wakeful.jobs where id = any($1::bigint[]) and state <> 'done'";
  const left = async (ids: readonly JobId[]): Promise<number> => {
    const { rows } = await client.query<{ left: string }>(text, [ids]);
    return Number(rows[0]?.left);
  };
  return { settled: (ids) => untilNone(() => left(ids)), close: () => client.end() };
}

async function untilNone(left: () => Promise<number>): Promise<void> {
  while ((await left()) > 0) await new Promise((resolve) => setTimeout(resolve, 1));
}
