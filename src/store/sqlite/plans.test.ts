import { expect, onTestFinished, test, vi } from "vitest";
import { asHostId, asItemId, asRunId, asWorkerId } from "../../domain/ids.ts";
import { asInstant } from "../../domain/time.ts";
import { assembleStore } from "../assemble-store.ts";
import { HintBoard } from "../engine/hint-board.ts";
import { migrate } from "../engine/migrator.ts";
import { sqliteMigrations } from "../migrations/sqlite.ts";
import type { Store } from "../port/store.ts";
import { SqliteConnection } from "./connection.ts";
import { SqliteEngine } from "./engine.ts";
import { createHotVerbs } from "./hot-verbs.ts";
import { targetOf } from "./migration-target.ts";

/** Tables that grow with history or with load: no loop may walk one of them. */
const growing = ["jobs", "runs", "items", "visits", "action_logs", "outbox"];
const now = asInstant(Date.UTC(2026, 0, 1));

async function openWatched(): Promise<{ readonly store: Store; readonly statements: Set<string>; readonly connection: SqliteConnection }> {
  const connection = new SqliteConnection({ path: ":memory:" });
  const hints = new HintBoard();
  const engine = new SqliteEngine({ connection, hints, now: () => now });
  await migrate(targetOf(engine), sqliteMigrations);
  const statements = new Set<string>();
  const prepared = connection.prepared.bind(connection);
  vi.spyOn(connection, "prepared").mockImplementation((text) => {
    statements.add(text);
    return prepared(text);
  });
  const store = assembleStore({ engine, hints, hot: createHotVerbs(engine), release: async () => await connection.close() });
  onTestFinished(() => store.close());
  return { store, statements, connection };
}

/** What the loops and the pages that people keep open read, again and again. */
const reads: Readonly<Record<string, (store: Store) => Promise<unknown>>> = {
  "the reconciler's stranded items": (store) => store.items.listStranded({ limit: 100 }),
  "the outbox's due entries": (store) => store.outbox.due(100),
  "the counts of unfinished jobs": (store) => store.upkeep.counts(),
  "the recount of slots": (store) => store.upkeep.recountSlots(),
  "the held leases": (store) => store.leases.listHeld({ limit: 100 }),
  "the waiters of leases": (store) => store.leases.tidyWaiters(),
  "the sessions that live": (store) => store.workers.listAlive(),
  "the cloned machines": (store) => store.workers.listHostConflicts(now),
  "a page of retention": (store) => store.upkeep.prune({ hostId: asHostId("host-a"), finishedBefore: now, limit: 100 }),
  "the newest instant": (store) => store.upkeep.newestInstant(),
  "the jobs that failed": (store) => store.upkeep.listJobs({ states: ["failed", "cancelled"], limit: 100 }),
  "the jobs that are held": (store) => store.upkeep.listJobs({ states: ["held"], limit: 100 }),
  "the jobs that wait or run": (store) => store.upkeep.listJobs({ states: ["scheduled", "queued", "running"], limit: 100 }),
  "the items that are unfinished": (store) => store.items.list({ states: ["active", "paused"], limit: 100 }),
  "the record of one item": (store) => store.actions.list({ itemId: asItemId(1), limit: 100 }),
  "the record of one run": (store) => store.actions.list({ runId: asRunId(1), limit: 100 }),
  "the runs that are due": (store) => store.runs.listDue({ now, limit: 100 }),
  "the plain runs that are due": (store) => store.runs.listDue({ now, limit: 100, only: "plain", heard: [asWorkerId(1)] }),
  "the plain jobs that are blocked": (store) => store.runs.listBlocked({ limit: 100, only: "plain" }),
  "the processes of this host": (store) => store.runs.listLocalProcesses(asHostId("a")),
  "the blocked jobs": (store) => store.runs.listBlocked({ limit: 100 }),
  "the scheduled jobs that are due": (store) => store.jobs.promoteDue(100),
};

test.each(Object.entries(reads))("%s are read by index, whatever the history", async (_name, read) => {
  const { store, statements, connection } = await openWatched();
  await read(store);
  const walked = [...statements].flatMap((text) => {
    if (!/^\s*(select|update|delete|with)/i.test(text)) return [];
    const plan = connection.db.prepare(`explain query plan ${text}`).all() as readonly { readonly detail: string }[];
    // A bare `SCAN jobs` walks the table; `SCAN jobs USING INDEX` walks the few rows of a partial index.
    return plan
      .filter(({ detail }) => growing.some((table) => new RegExp(`^SCAN ${table}(?! USING)`).test(detail)))
      .map(({ detail }) => `${detail}: ${text}`);
  });
  expect(walked).toEqual([]);
});
