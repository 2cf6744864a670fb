import { expect, test } from "vitest";
import { defaultReaderLimits } from "../../liveness/old-readers.ts";
import type { OldReader, OldReaders } from "../../observe/old-readers.ts";
import { StoreUnavailableError } from "../../store/port/errors.ts";
import { ReaderWatch } from "./reader-watch.ts";

const mebibyte = 2 ** 20;
const none: OldReaders = { logBytes: null, logHeld: false, readers: [] };
const process: OldReader = {
  kind: "process",
  id: "process 7",
  who: "pid 7 (sqlite3)",
  ageMs: null,
  transactions: null,
  catalogOnly: false,
  remedy: "`kill 7`.",
};
const session = (pid: number, change: Partial<OldReader> = {}): OldReader => ({
  ...process,
  kind: "session",
  id: `session ${pid}`,
  who: `session ${pid} (psql)`,
  ageMs: 360_000,
  transactions: 20_000,
  remedy: `\`select pg_terminate_backend(${pid})\`.`,
  ...change,
});

function world({ server }: { readonly server: boolean }) {
  let found = none;
  let mono = 0;
  let asked = 0;
  let failure: Error | undefined;
  const events: string[] = [];
  const alerts: string[] = [];
  const watch = new ReaderWatch({
    limits: defaultReaderLimits,
    server,
    monoNow: () => mono,
    observe: async () => {
      asked += 1;
      if (failure !== undefined) throw failure;
      return found;
    },
    tell: {
      emit: (name, data) => events.push(`${name} ${"who" in data ? data.who : ""}`),
      alert: async ({ cause, title }) => alerts.push(`${cause}: ${title}`) > 0,
    },
  });
  return {
    events,
    alerts,
    asked: () => asked,
    fail: (thrown: Error | undefined) => {
      failure = thrown;
    },
    look: async (now: OldReaders, afterMs: number) => {
      found = now;
      mono += afterMs;
      await watch.look();
    },
  };
}

test("SQLite: who keeps a long log is reported once after ten seconds, and when it is gone", async () => {
  const { look, events, alerts } = world({ server: false });
  const held: OldReaders = { logBytes: 85 * mebibyte, logHeld: true, readers: [process] };
  await look(held, 0);
  await look(held, 9_999);
  expect(events).toEqual([]);
  await look(held, 1);
  await look(held, 60_000);
  expect(events).toEqual(["store.reader_overdue pid 7 (sqlite3)"]);
  expect(alerts).toEqual([
    "store.reader_overdue: pid 7 (sqlite3) reads an old state of the store, and its log has grown to 85 MiB. `kill 7`.",
  ]);
  await look({ ...held, logHeld: false, readers: [] }, 1000);
  await look(none, 1000);
  expect(events.slice(1)).toEqual(["store.reader_gone pid 7 (sqlite3)"]);
  expect(alerts.slice(1)).toEqual([expect.stringContaining("pid 7 (sqlite3) no longer reads an old state")]);
});

test("SQLite: nobody is reported below the limit, for a short read, or for a log that nobody holds", async () => {
  const { look, events } = world({ server: false });
  await look({ logBytes: 64 * mebibyte, logHeld: true, readers: [process] }, 0);
  await look({ logBytes: 64 * mebibyte, logHeld: true, readers: [process] }, 60_000);
  const held: OldReaders = { logBytes: 85 * mebibyte, logHeld: true, readers: [process] };
  await look(held, 1000);
  await look({ ...held, readers: [] }, 5000);
  // Another short one: the time begins anew.
  await look(held, 5000);
  await look(held, 9000);
  await look({ ...held, logHeld: false }, 10_000);
  expect(events).toEqual([]);
});

test("PostgreSQL: of many the oldest is reported, the next when it is gone, and the end when none is left", async () => {
  const { look, events, alerts } = world({ server: true });
  await look({ ...none, readers: [session(1), session(2), session(3, { ageMs: 1000 })] }, 0);
  await look({ ...none, readers: [session(1), session(2)] }, 30_000);
  expect(events).toEqual(["store.reader_overdue session 1 (psql)"]);
  expect(alerts[0]).toContain(
    "open for 6 min, 20000 transactions behind: nothing that ended since is vacuumed. `select pg_terminate_backend(1)`. 1 more",
  );
  await look({ ...none, readers: [session(2)] }, 30_000);
  await look(none, 30_000);
  expect(events.slice(1)).toEqual([
    "store.reader_gone session 1 (psql)",
    "store.reader_overdue session 2 (psql)",
    "store.reader_gone session 2 (psql)",
  ]);
  expect(alerts).toHaveLength(3);
});

test("PostgreSQL: one of unknown age counts since it was first seen to hold back many", async () => {
  const { look, events } = world({ server: true });
  const slot = session(4, { ageMs: null });
  await look({ ...none, readers: [{ ...slot, transactions: 9999 }] }, 0);
  await look({ ...none, readers: [slot] }, 300_000);
  await look({ ...none, readers: [slot] }, 299_000);
  expect(events).toEqual([]);
  await look({ ...none, readers: [slot] }, 30_000);
  expect(events).toEqual(["store.reader_overdue session 4 (psql)"]);
});

test("a server is asked every thirty seconds, a file with each look", async () => {
  const server = world({ server: true });
  const file = world({ server: false });
  for (let second = 0; second < 60; second += 1) {
    await server.look(none, 1000);
    await file.look(none, 1000);
  }
  expect([server.asked(), file.asked()]).toEqual([2, 60]);
});

test("a store that does not answer ends nothing that was told, and is reported by its own watch", async () => {
  const { look, events, fail } = world({ server: true });
  const readers = [session(1)];
  await look({ ...none, readers }, 0);
  fail(new StoreUnavailableError("gone"));
  await look(none, 30_000);
  fail(undefined);
  await look({ ...none, readers }, 30_000);
  expect(events).toEqual(["store.reader_overdue session 1 (psql)"]);
  fail(new TypeError("a defect"));
  await expect(look(none, 30_000)).rejects.toThrow("a defect");
});
