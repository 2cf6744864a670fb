import { DatabaseSync } from "@photostructure/sqlite";
import pg from "pg";
import { isServer } from "./ask-store.ts";

export const holderName = "wakeful-bench-holder";

/**
 * A transaction that reads and stays open: a server may remove no row that died since, and a file's log only grows. An engine that stops
 * puts the log away, so it begins while one runs.
 */
export async function holdSnapshot(store: string): Promise<() => Promise<void>> {
  if (!isServer(store)) {
    const db = new DatabaseSync(store, { readOnly: true });
    db.exec("begin");
    db.prepare("select count(*) from queues").get();
    return async () => db.close();
  }
  const client = new pg.Client({ connectionString: store, application_name: holderName });
  await client.connect();
  await client.query("begin isolation level repeatable read");
  // A transaction id of its own holds back the horizon even where a snapshot alone would be let go.
  await client.query("select pg_current_xact_id()");
  return () => client.end();
}
