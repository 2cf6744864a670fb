import { expect, test } from "vitest";
import { asItemId, asJobId, asOwnerEpoch, asRunId, asWorkerId } from "../../src/domain/ids.ts";
import { minutes } from "../../src/domain/time.ts";
import type { LiveRun } from "../../src/store/port/runs.ts";
import type { Store } from "../../src/store/port/store.ts";
import {
  deadPids,
  type EarlierStore,
  earlierStore,
  earlierVersions,
  items,
  jobs,
  lastId,
  runs,
  workers,
} from "../support/earlier-store.ts";
import { present } from "../support/present.ts";
import { RepairWorld } from "../support/repair-world.ts";
import { schemaChange, schemaLines } from "../support/schema-lines.ts";
import { claim, farFuture, processOn, registerWorker, retried, stageEntry, success } from "../support/store-rows.ts";
import { describeStores } from "../support/stores.ts";

/** Tables to which opening adds rows of its own. */
const growing = new Set(["migrations", "job_states", "meta"]);

type Row = Readonly<Record<string, unknown>>;
type Rows = Readonly<Record<string, readonly Row[]>>;

/** What an earlier store's rows are to be, column by column. */
const upgraded = (before: Rows): Rows => pinned(before.live === undefined ? movedLive(before) : before);

/** The rows of a store of several daemons: all that there was is of the one host that the store has had. */
function pinned(before: Rows): Rows {
  const { items: oldItems = [], jobs: oldJobs = [], outbox: entries = [], workers: sessions = [], ready = [] } = before;
  const jobOf = new Map(oldJobs.map((job) => [job.id, job]));
  const isPinned = (row: Row): boolean => jobOf.get(row.job_id)?.item_id !== null;
  return {
    ...before,
    items: oldItems.map((item) => ({ host_id: "host-a", ...item })),
    jobs: oldJobs.map((job) => ({ host_id: job.item_id === null || job.finished_at !== null ? null : "host-a", ...job })),
    outbox: entries.map((entry) => ({
      host_id: entry.kind === "state-file" ? "host-a" : null,
      claimed_by: null,
      claimed_until: null,
      claim_fence: 0,
      ...entry,
    })),
    workers: sessions.map((session) => ({ via: null, ...session })),
    ready: ready.filter((row) => !isPinned(row)),
    ready_on_host: ready.filter(isPinned).map((row) => ({ host_id: "host-a", ...row })),
    daemons: [],
  };
}

function movedLive(before: Rows): Rows {
  const { jobs: oldJobs = [], runs: oldRuns = [], items: oldItems = [] } = before;
  const itemOf = new Map(oldJobs.map((job) => [job.id, job.item_id]));
  const underWay = new Map(oldRuns.filter(({ ended_at }) => ended_at === null).map((run) => [run.job_id, run]));
  return {
    ...before,
    items: oldItems.map((item) => ({ priority: 0, ...item })),
    jobs: oldJobs.map((job) => upgradedJob(job, underWay.get(job.id))),
    runs: oldRuns.filter(({ ended_at }) => ended_at !== null),
    live: [...underWay.values()].map((run) => ({
      ...without(run, ["ended_at", "outcome", "reason", "message", "evidence", "spent", "by_session_death"]),
      item_id: itemOf.get(run.job_id),
    })),
    ready: oldJobs
      .filter(({ state, paused, blocked_by }) => state === "queued" && !paused && blocked_by === null)
      .map(({ queue_id, priority, id }) => ({ queue_id, priority, job_id: id })),
  };
}

/** A job keeps what its ended runs have spent, and what it is between its runs. */
function upgradedJob(job: Row, run: Row | undefined): Row {
  const { state } = job;
  return {
    slot_key: null,
    lease: null,
    ...without(job, ["current_run_id", "current_epoch"]),
    state: run === undefined ? state : "queued",
    attempts: Number(job.attempts) - (run === undefined || run.state === "reserved" ? 0 : 1),
    run_count: Number(job.run_count) - (run === undefined ? 0 : 1),
    scheduled_at: state === "scheduled" ? job.run_at : null,
    note: ["held", "failed", "cancelled"].includes(String(state)) ? state : null,
    open_visit_id: job.finished_at === null ? job.visit_id : null,
  };
}

const without = (row: Row, columns: readonly string[]): Row =>
  Object.fromEntries(Object.entries(row).filter(([column]) => !columns.includes(column)));

/** Independent of the order in which they are read. */
const sorted = (rows: readonly Row[] | undefined): readonly string[] =>
  (rows ?? []).map((row) => JSON.stringify(Object.entries(row).toSorted(([a], [b]) => (a < b ? -1 : 1)))).sort();

const newest = earlierVersions.length + 1;

async function liveRun(store: Store, id: number): Promise<LiveRun> {
  return present((await store.runs.listLive([asRunId(id)]))[0]);
}

describeStores((openFresh, engine) => {
  for (const version of earlierVersions) {
    const opened = async (): Promise<EarlierStore & { readonly store: Store }> => {
      const earlier = await earlierStore(engine, version);
      return { ...earlier, store: await earlier.open() };
    };

    test(`a store of version ${version} keeps each row, column by column, and is whole`, async () => {
      const earlier = await earlierStore(engine, version);
      const before = await earlier.rows();
      const filled = [
        "queues",
        "items",
        "visits",
        "jobs",
        "workers",
        "runs",
        "leases",
        "lease_waiters",
        "action_logs",
        "outbox",
        "duplicates",
      ];
      for (const table of filled) expect(before[table]?.length, `rows of ${table}`).toBeGreaterThan(0);
      const store = await earlier.open();
      const after = await earlier.rows();
      const expected = upgraded(before);
      expect(Object.keys(after).toSorted()).toEqual(Object.keys(expected).toSorted());
      for (const [table, rows] of Object.entries(expected)) {
        if (growing.has(table)) expect(sorted(after[table]), table).toEqual(expect.arrayContaining([...sorted(rows)]));
        else expect(sorted(after[table]), table).toEqual(sorted(rows));
      }
      expect(await store.upkeep.checkInvariants()).toEqual([]);
      expect(await store.upkeep.integrityCheck()).toEqual([]);
    });

    test(`a store of version ${version} has the schema of a fresh one afterwards`, async () => {
      const fresh = await openFresh();
      const { query } = await opened();
      expect(schemaChange(await schemaLines(engine, fresh.query), await schemaLines(engine, query))).toEqual({ gone: [], new: [] });
    });

    test(`a store of version ${version} goes on claiming in order, and gives out no id twice`, async () => {
      const { store } = await opened();
      const claimed = await claim(store);
      expect(claimed.map((run) => run.jobId)).toEqual(jobs.queued);
      for (const run of claimed) expect(run.runId).toBeGreaterThan(lastId);
      const [known, made] = await store.jobs.enqueue({ queue: "t", jobs: [{ enqueueId: "once" }, {}] });
      expect(known).toBe(53);
      expect(made).toBeGreaterThan(lastId);
      expect(await registerWorker(store)).toBeGreaterThan(lastId);
      await store.jobs.ensureQueues([{ name: "later", kind: "handler" }]);
      await store.outbox.put({ kind: "alert", key: "later", payload: "{}" });
      const dueIds = (await store.outbox.due(10)).map(({ id }) => id);
      expect(dueIds[0]).toBe(71);
      expect(Math.max(...dueIds)).toBeGreaterThan(lastId);
      expect(await store.runs.settle(claimed.map((run) => ({ ...success(run), reason: "handler_returned" })))).toMatchObject(
        claimed.map(() => ({ kind: "ok" })),
      );
      expect(await store.upkeep.checkInvariants()).toEqual([]);
    });

    test(`a store of version ${version} goes on with its reserved run and its started one, and passes the lease on`, async () => {
      const { store, clock } = await opened();
      const reserved = { runId: asRunId(runs.reserved), ownerEpoch: asOwnerEpoch(1) };
      const now = clock.now();
      const start = { ...reserved, startedAt: now, wrapper: processOn(), limits: {}, checkAt: farFuture };
      expect(await store.runs.start([start])).toEqual([{ kind: "ok" }]);
      expect((await liveRun(store, runs.reserved)).attempts).toBe(1);
      expect(await store.jobs.get(asJobId(jobs.reserved))).toMatchObject({ state: "running", attempts: 1, currentRunId: runs.reserved });
      const back = retried({ ...reserved, jobId: asJobId(jobs.reserved) }, { outcome: "released", reason: "drain" });
      expect(await store.runs.settle([back])).toMatchObject([{ kind: "ok" }]);
      expect(await store.jobs.get(asJobId(jobs.reserved))).toMatchObject({ state: "queued", attempts: 0 });

      const started = { runId: asRunId(runs.started), ownerEpoch: asOwnerEpoch(1) };
      const { lost } = await store.workers.renew({ workerId: asWorkerId(workers.live), held: [started.runId], claimSeqReceived: 3 });
      expect(lost).toEqual([]);
      expect(await store.runs.beat([{ runId: started.runId, at: now }])).toEqual([]);
      expect(await store.leases.renew({ name: "merge/one", fencing: 7 })).toBe(true);
      expect(await store.runs.recordExit({ ...started, exitCode: 0, checkAt: farFuture })).toEqual({ kind: "ok" });
      const end = success({ ...started, jobId: asJobId(jobs.started) }, { actor: "worker", advance: stageEntry("ocr") });
      expect(await store.runs.settle([end])).toMatchObject([{ kind: "ok" }]);
      expect(await store.items.get(asItemId(items.started))).toMatchObject({ state: "active", stage: "ocr" });
      expect(await store.leases.release({ name: "merge/one", fencing: 7, actor: "worker", reason: "ended" })).toBe(true);
      expect((await store.leases.list({ limit: 10 })).find(({ name }) => name === "merge/one")).toMatchObject({
        state: "held",
        fencing: 8,
        holder: { kind: "run", runId: runs.exited },
      });
      expect(await store.upkeep.checkInvariants()).toEqual([]);
    });

    test(`a store of version ${version} lets an exited run be adopted and settled, and its item ends`, async () => {
      const { store } = await opened();
      const run = await liveRun(store, runs.exited);
      expect(run).toMatchObject({ state: "exited", exitCode: 0, ownerEpoch: 2, supervisor: { state: "dead" } });
      const workerId = await registerWorker(store);
      const adopt = { runId: run.id, ownerEpoch: run.ownerEpoch, workerId, actor: "adoption", reason: "dead", checkAt: farFuture };
      expect(await store.runs.takeOver(adopt)).toBe(3);
      const end = success({ ...run, runId: run.id }, { actor: "worker", advance: { kind: "finish" } });
      expect(await store.runs.settle([end]), "the old supervisor's").toMatchObject([{ kind: "lost", now: { ownerEpoch: 3 } }]);
      expect(await store.runs.settle([{ ...end, ownerEpoch: asOwnerEpoch(3) }])).toMatchObject([{ kind: "ok" }]);
      expect(await store.items.get(asItemId(items.exited))).toMatchObject({ state: "done" });
      expect(await store.upkeep.checkInvariants()).toEqual([]);
    });

    test(`a store of version ${version} gives back what was being stopped, held, paused and delayed`, async () => {
      const { store, clock } = await opened();
      expect((await store.runs.listBlocked({ limit: 10 })).map((blocked) => blocked.jobId)).toEqual([jobs.stopping]);
      await store.runs.clearBlocks([{ jobId: asJobId(jobs.stopping), runId: asRunId(runs.stopping), proof: "pid_gone", actor: "stopper" }]);
      expect(await store.jobs.unhold(asJobId(jobs.held), { actor: "ana", force: false })).toBe(true);
      await store.items.setPaused(asItemId(items.paused), { paused: false, actor: "ana" });
      clock.advance(minutes(1));
      expect(await store.jobs.promoteDue(10)).toMatchObject({ moved: 1 });
      const claimed = await claim(store);
      const expected = [jobs.stopping, jobs.held, jobs.paused, ...jobs.queued, jobs.scheduled];
      expect(new Set(claimed.map((run) => run.jobId))).toEqual(new Set(expected));
      expect(await store.upkeep.checkInvariants()).toEqual([]);
    });

    test(`a store of version ${version} is repaired: what its dead processes held comes back`, async () => {
      const earlier = await earlierStore(engine, version);
      const world = await RepairWorld.open(undefined, { url: earlier.url });
      for (const pid of deadPids) world.probe.set(pid, "dead");
      for (let tick = 0; tick < 3; tick++) {
        await world.tickWorkers();
        await world.tick();
        await world.stopBlocked();
      }
      world.advance(minutes(5));
      await world.tick();
      const { store } = world;
      expect(await store.runs.listAllLive({ limit: 100 })).toEqual([]);
      expect(await store.items.get(asItemId(items.exited))).toMatchObject({ state: "done" });
      expect(await store.runs.get(asRunId(runs.reserved))).toMatchObject({ outcome: "never_started", spent: "nothing" });
      expect(await store.runs.get(asRunId(runs.started))).toMatchObject({ outcome: "lost" });
      for (const id of [jobs.reserved, jobs.started, jobs.stopping]) {
        expect(await store.jobs.get(asJobId(id)), `job ${id}`).toMatchObject({ state: "queued", blockedBy: null });
      }
      expect((await store.leases.list({ limit: 10 })).map(({ name, state, fencing }) => `${name} ${state} ${fencing}`)).toEqual([
        "deploy free 3",
        "merge/one free 7",
        "spare free 9",
      ]);
      expect(await store.upkeep.checkInvariants()).toEqual([]);
    });
  }

  test("a store whose runs and jobs contradict each other is refused with their names, and left as the version before can read it", async () => {
    const contradictions = [
      [
        `update jobs set current_run_id = ${runs.exited}, state = 'running', current_epoch = 1 where id = 52 returning id`,
        /job 52 is running, and its run 104 is not/,
      ],
      [
        `update jobs set state = 'queued', current_run_id = null, current_epoch = null where id = ${jobs.started} returning id`,
        /(run 102|job 32) /,
      ],
      [`update jobs set current_run_id = ${runs.stopping} where id = ${jobs.started} returning id`, /(run 102|job 32) /],
      [`update jobs set attempts = 0 where id = ${jobs.started} returning id`, /(run 102|job 32) /],
      [`delete from runs where id = ${runs.started} returning id`, /job 32 is running, and its run 102 is not/],
    ] as const;
    for (const [change, named] of contradictions) {
      const earlier = await earlierStore(engine, 1);
      await earlier.query(change);
      const before = await earlier.rows();
      await expect(earlier.open(), change).rejects.toMatchObject({ code: "store_corrupt", message: expect.stringMatching(named) });
      expect(await earlier.rows()).toEqual(before);
    }
  });

  test("the newest migration changes nothing of the tables that it is not for", async () => {
    const earlier = await earlierStore(engine, newest - 1);
    const others = async () =>
      (await schemaLines(engine, earlier.query)).filter(
        (line) => !/\b(items|workers|outbox|jobs|ready_on_host|daemons|refuse_older_program)\b/.test(line),
      );
    const before = await others();
    expect(before.length).toBeGreaterThan(50);
    await earlier.open();
    expect(schemaChange(before, await others())).toEqual({ gone: [], new: [] });
  });

  test("a kind that the schema has never heard of is stored: the next one needs no migration", async () => {
    const { query, store } = await openFresh();
    await store.jobs.ensureQueues([{ name: "t", kind: "later" as never }]);
    await registerWorker(store);
    await query("update workers set kind = 'later' returning id");
    await store.outbox.put({ kind: "later" as never, key: "k", payload: "{}" });
    const kinds = await query("select kind from queues union all select kind from workers union all select kind from outbox");
    expect(kinds.map(({ kind }) => kind)).toEqual(["later", "later", "later"]);
  });

  test("a job may be returned: it is final like a job that is done, and listed among all jobs", async () => {
    const { query, store } = await openFresh();
    await store.jobs.ensureQueues([{ name: "t", kind: "handler" }]);
    const [id] = await store.jobs.enqueue({ queue: "t", jobs: [{}] });
    await expect(query("update jobs set state = 'returned' returning id"), "without an end").rejects.toThrow(/check/i);
    await query("update jobs set state = 'returned', finished_at = run_at returning id");
    await query("delete from ready returning job_id");
    expect(await store.upkeep.listJobs({ limit: 10 })).toMatchObject([{ id, state: "returned" }]);
    expect(await claim(store, { queues: ["t"] })).toEqual([]);
    expect(await store.jobs.cancel(present(id), { actor: "ana", reason: "no", stopBy: farFuture })).toBeUndefined();
    expect(await store.upkeep.checkInvariants()).toEqual([]);
  });
});
