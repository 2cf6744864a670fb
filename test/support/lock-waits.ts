import type pg from "pg";
import { until } from "./until.ts";

/**
 * How many connections to the observer's own database wait for a lock. Other databases of the server do not count: other tests lock rows in
 * them.
 */
export async function lockWaiters(observer: pg.Client): Promise<number> {
  const waiting = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
  return (await observer.query(waiting)).rowCount ?? 0;
}

export async function lockWaits(observer: pg.Client, count = 1): Promise<void> {
  await until(async () => (await lockWaiters(observer)) === count, { what: `${count} connections to wait for a lock` });
}
