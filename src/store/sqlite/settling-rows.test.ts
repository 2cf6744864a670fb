import fc from "fast-check";
import { expect, test } from "vitest";
import { asJobId, asRunId } from "../../domain/ids.ts";
import { asInstant } from "../../domain/time.ts";
import { SqliteConnection } from "./connection.ts";
import { packRows, type SettlingRow, SettlingRows } from "./settling-rows.ts";

const anyId = fc.oneof(
  fc.integer({ min: 1, max: 300 }),
  fc.integer({ min: 1, max: 200_000 }),
  fc.maxSafeInteger().map((n) => Math.abs(n) + 1),
);
const anyStart = fc.option(fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 4e12 })), { nil: undefined });
const anyRows = fc
  .uniqueArray(fc.record({ job: anyId, run: anyId, start: anyStart }), { selector: ({ job }) => job, maxLength: 60 })
  .map((rows) =>
    rows.map(
      ({ job, run, start }): SettlingRow => ({
        jobId: asJobId(Math.min(job, Number.MAX_SAFE_INTEGER)),
        runId: asRunId(Math.min(run, Number.MAX_SAFE_INTEGER)),
        startedAt: start === undefined ? undefined : asInstant(start),
      }),
    ),
  );

test("whatever jobs, runs and starts are put in, the engine reads the same", () => {
  const connection = new SqliteConnection({ path: ":memory:" });
  const rows = new SettlingRows(connection);
  const read = connection.db.prepare("select job_id as jobId, run_id as runId, started_at as startedAt from settling order by job_id");
  fc.assert(
    fc.property(anyRows, (given) => {
      expect(rows.put(given)).toBe(true);
      const sorted = given.map((row) => ({ ...row, startedAt: row.startedAt ?? null })).sort((a, b) => a.jobId - b.jobId);
      expect(read.all()).toEqual(sorted);
      rows.clear();
      expect(read.all()).toEqual([]);
    }),
  );
});

test("a job that stands there twice is told", () => {
  const rows = new SettlingRows(new SqliteConnection({ path: ":memory:" }));
  const row = { jobId: asJobId(7), runId: asRunId(70) };
  expect(rows.put([row, { jobId: asJobId(8), runId: asRunId(80) }, { jobId: asJobId(7), runId: asRunId(71) }])).toBe(false);
});

test("runs that were claimed together travel in one group, and those that are far apart in several", () => {
  const near = Array.from({ length: 1000 }, (_, at) => ({
    jobId: asJobId(at + 5),
    runId: asRunId(at + 90),
    startedAt: asInstant(1e12 + at),
  }));
  expect(packRows(near)).toHaveLength(1);
  expect(packRows([...near, { jobId: asJobId(2 ** 40), runId: asRunId(7) }])).toHaveLength(2);
  expect(packRows([])).toEqual([]);
});
