import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { enderOf } from "../../../test/support/ender.ts";
import { bundleHandlerHost, type HostBench, hostBench } from "../../../test/support/handler-host.ts";
import { until } from "../../../test/support/until.ts";
import { writtenPid } from "../../../test/support/written-pid.ts";
import { asJobId, type JobId } from "../../domain/ids.ts";
import { dataPaths } from "../../files/data-paths.ts";
import { definePipeline, handler } from "../../pipelines/reading/typescript.ts";
import { PipelineRegistry } from "../../pipelines/registry.ts";
import { createProcessProbe } from "../../processes/probe/identity.ts";
import { systemClock } from "../../runtime/clock.ts";
import { hostRecordPath, stopLeftoverHost } from "./leftover-host.ts";

let program = "";
let remove = (): void => undefined;
beforeAll(async () => {
  ({ program, remove } = await bundleHandlerHost());
});
afterAll(() => remove());

const stateOf = async ({ store }: HostBench, id: JobId | undefined) => (id === undefined ? undefined : (await store.jobs.get(id))?.state);
const offered = async (host: { tasks(): ReadonlySet<string> }, task: string) =>
  await until(() => host.tasks().has(task), { what: `task ${task}` });
const eventsOf = ({ events }: HostBench, name: string) => events.filter((event) => event.name === name).map(({ data }) => data);
/** A handler that says that it has begun by a file, so that tests need not guess. */
const beginning = `import { writeFileSync, existsSync } from "node:fs"; const begun = (job) => writeFileSync(new URL("begun-" + job.id, import.meta.url), "");`;
const begun = async ({ dataDir }: HostBench, id: JobId | undefined) =>
  await until(() => existsSync(join(dataDir, `begun-${id}`)), { what: `job ${id} to begin` });

test("tasks of a user's module run in the host, with progress, log and output", async () => {
  const bench = await hostBench(program);
  bench.module(
    `export const add = defineTask("add", async (job, { log, progress }) => { log("adding"); progress(0.5); return job.payload.a + job.payload.b; });`,
  );
  const host = bench.process();
  await host.start();
  await offered(host, "add");
  const [id] = await bench.store.jobs.enqueue({ queue: "add", jobs: [{ payload: '{"a":2,"b":3}' }] });
  await until(async () => (await stateOf(bench, id)) === "done");
  expect((await bench.store.jobs.get(id ?? asJobId(0)))?.output).toBe("5");
  const [run] = await bench.store.runs.ofJob(id ?? asJobId(0));
  const log = join(bench.dataDir, "runs", String(run?.id), "stdout.log");
  expect(await until(() => existsSync(log) && (readFileSync(log, "utf8") || undefined))).toBe("adding\n");
  await host.stop("abort");
  expect(existsSync(hostRecordPath(bench.dataDir))).toBe(false);
});

test("what handlers log is cut at the size that their stage, or their task, sets; the loss is noted", async () => {
  const stage = (maxBytes: `${number}KiB`) =>
    definePipeline(`p${maxBytes}`, { stages: { talk: { run: handler("talk"), log: { maxBytes } } } }).definition;
  const pipelines = [stage("4KiB"), stage("1024KiB")];
  const bench = await hostBench(program, pipelines);
  bench.module(`
    export const talk = (job, context) => { for (let n = 0; n < 1000; n++) context.log.info("line " + n); };
    export const small = defineTask("small", (job, { log }) => { for (let n = 0; n < 1000; n++) log("line " + n); }, { logMaxBytes: 4096 });`);
  const host = bench.process();
  await host.start();
  await offered(host, "small");
  const ids = await Promise.all(
    ["p4KiB/talk", "p1024KiB/talk", "small"].map(async (queue) => (await bench.store.jobs.enqueue({ queue, jobs: [{}] }))[0]),
  );
  for (const id of ids) await until(async () => (await stateOf(bench, id)) === "done");
  // It writes what it has gathered before it goes.
  await host.stop("drain");
  const logs: string[] = [];
  for (const id of ids) {
    const [run] = await bench.store.runs.ofJob(id ?? asJobId(0));
    logs.push(readFileSync(join(bench.dataDir, "runs", String(run?.id), "stdout.log"), "utf8"));
  }
  const [cut = "", whole = "", small = ""] = logs;
  expect(whole.split("\n")).toHaveLength(1001);
  for (const text of [cut, small]) {
    expect(text.length).toBeLessThanOrEqual(4096);
    expect(text).toMatch(/^\[wakeful\] \d+ bytes of older output were dropped here \(log\.maxBytes is 4096\)\n/);
    expect(text.trimEnd().endsWith("line 999")).toBe(true);
  }
});

test("thousands of jobs go through the pipe, each once", async () => {
  const bench = await hostBench(program);
  bench.module(`export const t = defineTask("t", async (job) => job.payload);`);
  const host = bench.process({ outstandingMax: 200 });
  await host.start();
  await offered(host, "t");
  const ids = await bench.store.jobs.enqueue({ queue: "t", jobs: Array.from({ length: 2_000 }, (_, n) => ({ payload: String(n) })) });
  await until(
    async () => (await stateOf(bench, ids.at(-1))) === "done" && bench.events.filter(({ name }) => name === "runs.settled").length > 0,
  );
  await until(() => eventsOf(bench, "runs.settled").reduce((sum: number, data) => sum + (data as { count: number }).count, 0) === 2_000);
  expect((await bench.store.jobs.get(ids[1_234] ?? asJobId(0)))?.output).toBe("1234");
});

test("a stage's function gets its item, input and directory, and a gate that reads its result [A-22]", async () => {
  const definition = definePipeline("p", {
    stages: {
      prep: { run: handler("prep"), gate: { file: "ready.txt" }, next: "ocr", heartbeat: { timeout: "60s" } },
      ocr: { run: handler("ocr") },
    },
  }).definition;
  const bench = await hostBench(program, [definition]);
  bench.module(`
    import { writeFileSync } from "node:fs"; import { join } from "node:path";
    export const prep = async (job) => { writeFileSync(join(job.workDir, "ready.txt"), "x"); return { key: job.itemKey, input: job.input }; };
    export const ocr = async (job, context) => { context.log.info("previous", { of: job.input.previous.key }); return job.stage; };`);
  const host = bench.process();
  await host.start();
  const first = new PipelineRegistry([definition]).entry("p", "prep");
  if (first === undefined) throw new Error("no stage prep");
  const { item } = await bench.store.items.add({ pipeline: "p", key: "book", dir: "book", input: '{"title":"x"}', first, actor: "test" });
  await until(async () => (await bench.store.items.get(item.id))?.state === "done");
  const visits = await bench.store.items.visits(item.id);
  expect(JSON.parse(visits[0]?.output ?? "null")).toMatchObject({ key: "book", input: { input: { title: "x" } } });
  expect(visits[1]?.output).toBe('"ocr"');
  const [prep] = await bench.store.items.jobs(item.id);
  const [run] = await bench.store.runs.ofJob(prep?.id ?? asJobId(0));
  expect(run?.exitCode).toBe(0);
  // Its first heartbeat goes out before its function begins.
  expect(run?.progressAt).not.toBeNull();
  await until(() => eventsOf(bench, "item.ended").length > 0, { what: "the end of the item to be told" });
  expect(eventsOf(bench, "item.advanced")).toEqual([
    { itemId: item.id, from: "prep", to: "ocr" },
    { itemId: item.id, from: "ocr", to: null },
  ]);
  expect(eventsOf(bench, "item.ended")).toMatchObject([{ itemId: item.id, state: "done" }]);
});

test("a main thread that is deep in a blocking call keeps its presence [A-G3]", async () => {
  const bench = await hostBench(program);
  bench.module(`${beginning} import { execFileSync } from "node:child_process";
    export const block = defineTask("block", (job) => {
      begun(job); execFileSync("sh", ["-c", 'until [ -e "$0" ]; do sleep 0.02; done', new URL("go", import.meta.url).pathname]); });`);
  const host = bench.process();
  await host.start();
  await offered(host, "block");
  const [id] = await bench.store.jobs.enqueue({ queue: "block", jobs: [{}] });
  await begun(bench, id);
  const before = bench.renewals.length;
  await until(() => bench.renewals.length >= before + 5, { what: "five renewals beside the blocked thread" });
  expect(await stateOf(bench, id)).toBe("running");
  const worker = await bench.store.workers.get(host.workerId ?? (0 as never));
  expect(worker?.state).toBe("live");
  await until(() => (bench.renewals.at(-1)?.loopLagMs ?? 0) > 100, { what: "the lag of the blocked thread to be told" });
  bench.writeFile("go", "");
  await until(async () => (await stateOf(bench, id)) === "done");
});

test("a renewal that is never answered is given up after its time, told, and followed by others", async () => {
  const bench = await hostBench(program);
  bench.module(`${beginning} export const idle = defineTask("idle", () => 1);`);
  const renew = vi.spyOn(bench.store.workers, "renew").mockImplementationOnce(() => new Promise(() => undefined));
  const host = bench.process({ renewTimeoutMs: 100 });
  await host.start();
  await offered(host, "idle");
  await until(() => renew.mock.calls.length >= 3, { what: "renewals after the one that hangs" });
  expect(bench.events).toContainEqual({
    name: "store.degraded",
    data: { code: "renew_timeout", message: expect.stringContaining("within 100 ms") },
  });
});

test("a host whose pipes are held by what its handler started is settled all the same when it dies [F-8.7]", async () => {
  const bench = await hostBench(program);
  bench.module(`import { spawn } from "node:child_process"; import { writeFileSync } from "node:fs";
    export const leave = defineTask("leave", (job) => {
      if (job.attempt > 1) return "again";
      const left = spawn("sleep", ["600"], { detached: true, stdio: ["ignore", 1, 2, 3, 4] });
      writeFileSync(new URL("left", import.meta.url), String(left.pid));
      left.once("spawn", () => process.exit(1));
      return new Promise(() => undefined); });`);
  const host = bench.process();
  await host.start();
  await offered(host, "leave");
  const [id] = await bench.store.jobs.enqueue({ queue: "leave", jobs: [{}] });
  const pid = await writtenPid(join(bench.dataDir, "left"));
  onTestFinished(() => void bench.table.signal(pid, "SIGKILL"));
  await until(async () => (await stateOf(bench, id)) === "done");
  expect(bench.table.look(pid).kind, "what holds the pipes lives on").toBe("seen");
});

test("after kill -9 the host is started again, and what it ran is lost, written as soon as the store takes it [F-8.7]", async () => {
  const bench = await hostBench(program);
  bench.module(`${beginning} export const wait = defineTask("wait", (job) => job.attempt > 1 ? "again" : new Promise(() => begun(job)));`);
  const host = bench.process();
  await host.start();
  await offered(host, "wait");
  const [id] = await bench.store.jobs.enqueue({ queue: "wait", jobs: [{}] });
  await begun(bench, id);
  const session = host.workerId;
  const identity = host.identity();
  if (session === undefined || identity === undefined) throw new Error("no host");
  vi.spyOn(bench.store.runs, "listOfWorkers").mockRejectedValueOnce(new Error("no connection"));
  bench.table.signal(identity.pid, "SIGKILL");
  await until(() => eventsOf(bench, "loop.subject_failed").length > 0, { what: "the first try" });
  expect(host.identities(), "judges leave it to its parent").toContainEqual(identity);
  await until(() => host.workerId !== undefined && host.workerId !== session, { what: "a new session" });
  expect(eventsOf(bench, "handler_host.exited")).toMatchObject([{ pid: identity.pid, code: null, signal: "SIGKILL", restartInMs: 20 }]);
  await until(async () => (await stateOf(bench, id)) === "done");
  expect(await bench.store.jobs.get(id ?? asJobId(0))).toMatchObject({ output: '"again"', runCount: 2 });
  const runs = await bench.store.runs.ofJob(id ?? asJobId(0));
  expect(runs.find(({ attempt }) => attempt === 1)).toMatchObject({ outcome: "lost", reason: "host_died", spent: "attempt" });
  expect((await bench.store.workers.get(session))?.state).toBe("stopped");
  await until(() => bench.deaths === 1, { what: "the hint" });
  expect(host.identities()).not.toContainEqual(identity);
});

test("when its daemon dies the host ends its handlers and itself, also when they block its thread", async () => {
  const bench = await hostBench(program);
  bench.module(`${beginning} export const spin = defineTask("spin", (job) => { begun(job); for (;;); });`);
  const host = bench.process({ stopGraceMs: 200, killGraceMs: 100 });
  await host.start();
  await offered(host, "spin");
  const [id] = await bench.store.jobs.enqueue({ queue: "spin", jobs: [{}] });
  await begun(bench, id);
  const identity = host.identity();
  if (identity === undefined) throw new Error("no host");
  // The pipes of a dead daemon close; nothing else of it is left to speak.
  host.disconnect();
  const probe = createProcessProbe({ host: bench.host, table: bench.table });
  await until(() => probe.observe(identity).kind === "dead", { what: "the host to be gone" });
});

test("stopping hands back what runs and what waits, and nothing is spent", async () => {
  const bench = await hostBench(program);
  bench.module(`${beginning}
    export const polite = defineTask("polite", (job, { signal }) => new Promise((_, reject) => { begun(job); signal.addEventListener("abort", () => reject(signal.reason)); }));
    export const deaf = defineTask("deaf", (job) => new Promise(() => begun(job)));`);
  const host = bench.process({ stopGraceMs: 300, concurrency: 2 });
  await host.start();
  await offered(host, "deaf");
  const [polite] = await bench.store.jobs.enqueue({ queue: "polite", jobs: [{}] });
  const [deaf] = await bench.store.jobs.enqueue({ queue: "deaf", jobs: [{}] });
  await begun(bench, polite);
  await begun(bench, deaf);
  const session = host.workerId;
  await host.stop("abort");
  for (const id of [polite, deaf]) {
    expect(await bench.store.jobs.get(id ?? asJobId(0))).toMatchObject({ state: "queued", attempts: 0, losses: 0, blockedBy: null });
    const [run] = await bench.store.runs.ofJob(id ?? asJobId(0));
    expect(run?.outcome).toBe("released");
  }
  expect((await bench.store.workers.get(session ?? (0 as never)))?.state).toBe("stopped");
});

test("draining waits for what runs", async () => {
  const bench = await hostBench(program);
  bench.module(`${beginning} export const gated = defineTask("gated", async (job) => {
    begun(job); while (!existsSync(new URL("go", import.meta.url))) await new Promise((resolve) => setTimeout(resolve, 5)); return "done"; });`);
  const host = bench.process();
  await host.start();
  await offered(host, "gated");
  const [id] = await bench.store.jobs.enqueue({ queue: "gated", jobs: [{}] });
  await begun(bench, id);
  const drained = host.stop("drain");
  bench.writeFile("go", "");
  await drained;
  expect((await bench.store.jobs.get(id ?? asJobId(0)))?.output).toBe('"done"');
});

test("a handler that does not stop ends its host: the others are losses without an attempt, and another host goes on", async () => {
  const bench = await hostBench(program);
  bench.module(`${beginning}
    export const stuck = defineTask("stuck", (job) => job.attempt > 1 ? 1 : new Promise(() => begun(job)), { timeoutMs: 300 });
    export const bystander = defineTask("bystander", (job) => job.attempt > 1 ? 2 : new Promise(() => begun(job)));`);
  const host = bench.process({ stopGraceMs: 100, killGraceMs: 100 });
  await host.start();
  await offered(host, "bystander");
  const [bystander] = await bench.store.jobs.enqueue({ queue: "bystander", jobs: [{}] });
  const [stuck] = await bench.store.jobs.enqueue({ queue: "stuck", jobs: [{}] });
  await begun(bench, bystander);
  await begun(bench, stuck);
  await until(async () => (await stateOf(bench, bystander)) === "done", { what: "the bystander, on the next host" });
  expect(await bench.store.jobs.get(bystander ?? asJobId(0))).toMatchObject({ output: "2", attempts: 1, losses: 1, runCount: 2 });
  const [first] = await bench.store.runs.ofJob(stuck ?? asJobId(0));
  expect(first).toMatchObject({ outcome: "timed_out", spent: "attempt" });
  // Blocked until the stopper has the proof that the process is gone, which it now can have.
  expect((await bench.store.jobs.get(stuck ?? asJobId(0)))?.blockedBy).toBe(first?.id);
  expect(eventsOf(bench, "handler_host.exited")).toMatchObject([{ restartInMs: 0 }]);
});

test("a lost run whose handler blocks the thread ends the host as well", async () => {
  const bench = await hostBench(program);
  bench.module(`${beginning} export const spin = defineTask("spin", (job) => { begun(job); for (;;); });`);
  const host = bench.process({ stopGraceMs: 100, killGraceMs: 100 });
  await host.start();
  await offered(host, "spin");
  const [id] = await bench.store.jobs.enqueue({ queue: "spin", jobs: [{}] });
  await begun(bench, id);
  const identity = host.identity();
  await bench.store.jobs.cancel(id ?? asJobId(0), { actor: "test", reason: "not wanted", stopBy: bench.store.now() });
  await until(() => host.identity() !== undefined && host.identity()?.pid !== identity?.pid, { what: "another host" });
  expect(eventsOf(bench, "handler_host.exited")).toMatchObject([{ pid: identity?.pid, signal: "SIGKILL", restartInMs: 0 }]);
});

test.each([
  ["throws while it loads", `throw new Error("no licence");`, "no licence"],
  ["exports nothing of use", `export const answer = 42;`, "exports no handler"],
  ["has one name twice", `export const a = defineTask("x", () => 1); export const b = defineTask("x", () => 2);`, "two tasks"],
  ["does not parse", `export const = 1;`, "cannot be used"],
])("a module that %s is told once, tried again, and mends itself", async (_, text, why) => {
  const bench = await hostBench(program);
  bench.module(text);
  const host = bench.process();
  await host.start();
  await until(() => eventsOf(bench, "handler_host.exited").length >= 2, { what: "two tries" });
  const alerts = await bench.store.outbox.due(10);
  expect(alerts).toMatchObject([{ kind: "alert", key: "handlers_unloadable", payload: expect.stringContaining(why), revision: 1 }]);
  expect(eventsOf(bench, "handler_host.exited")[0]).toMatchObject({ code: 78 });
  expect(bench.deaths).toBe(0);
  bench.module(`export const t = defineTask("t", () => 1);`);
  await offered(host, "t");
});

test("a module that exits the process, at once or later, never takes the daemon along", async () => {
  const bench = await hostBench(program);
  bench.module(`export const quit = defineTask("quit", (job) => job.attempt > 1 ? "stayed" : process.exit(3));`);
  const host = bench.process();
  await host.start();
  await offered(host, "quit");
  const session = await until(() => host.workerId, { what: "its session" });
  const [id] = await bench.store.jobs.enqueue({ queue: "quit", jobs: [{}] });
  await until(() => bench.deaths === 1);
  expect(eventsOf(bench, "handler_host.exited")).toMatchObject([{ code: 3, signal: null }]);
  const page = {
    workerIds: [session],
    limit: 100,
    reason: "worker_dead",
    actor: "worker-reaper",
    recoverySpreadMs: 0,
    random: () => 0,
  };
  await bench.store.runs.settleLostPage(page);
  await until(async () => (await stateOf(bench, id)) === "done");
  bench.module(`process.exit(0);`);
  const pid = host.identity()?.pid;
  if (pid !== undefined) bench.table.signal(pid, "SIGKILL");
  await until(() => eventsOf(bench, "handler_host.exited").length >= 3, { what: "the exits of the new module" });
  expect(eventsOf(bench, "handler_host.exited").at(-1)).toMatchObject({ code: 0 });
});

test("a starting daemon stops a leftover host: its started runs are losses without an attempt, its reserved ones unspent", async () => {
  const bench = await hostBench(program);
  bench.module(`${beginning} export const wait = defineTask("wait", (job) => new Promise(() => begun(job)));`);
  // Long graces: it would outlive its daemon for a while.
  const host = bench.process({ stopGraceMs: 60_000, concurrency: 1, outstandingMax: 1 });
  await host.start();
  await offered(host, "wait");
  const [started] = await bench.store.jobs.enqueue({ queue: "wait", jobs: [{}] });
  await begun(bench, started);
  const [reserved] = await bench.store.jobs.enqueue({ queue: "wait", jobs: [{}] });
  const workerId = host.workerId;
  if (workerId === undefined) throw new Error("no session");
  const claim = {
    claimId: "by-hand",
    workerId,
    claimSeq: 99,
    queues: [{ name: "wait", limits: { maxRunningMs: 1e6 } }],
    max: 1,
    startNow: 0,
  };
  expect(await bench.store.runs.claim(claim)).toHaveLength(1);
  const identity = host.identity();
  host.disconnect();
  const { store, dataDir, table, emit } = bench;
  const options = {
    store,
    host: { identity: bench.host, table, paths: dataPaths(dataDir), clock: systemClock() },
    emit,
    ender: enderOf({ store, emit }),
    recoverySpreadMs: 0,
    deadAfterMs: 30_000,
    stop: { stopGraceMs: 100, killGraceMs: 5_000 },
  };
  const leftover = await stopLeftoverHost(options);
  expect(leftover).toMatchObject({ kind: "gone", wasAlive: true, runsEnded: 2, process: { pid: identity?.pid } });
  expect(await store.jobs.get(started ?? asJobId(0))).toMatchObject({ state: "queued", attempts: 0, losses: 1 });
  expect(await store.jobs.get(reserved ?? asJobId(0))).toMatchObject({ state: "queued", attempts: 0, losses: 0 });
  expect((await store.workers.get(workerId))?.state).toBe("stopped");
  expect(await stopLeftoverHost(options)).toEqual({ kind: "none" });
});

test("a record of another host, another process or in another shape stops nobody", async () => {
  const bench = await hostBench(program);
  const { store, dataDir, table, emit } = bench;
  const options = {
    store,
    host: { identity: bench.host, table, paths: dataPaths(dataDir), clock: systemClock() },
    emit,
    ender: enderOf({ store, emit }),
    recoverySpreadMs: 0,
    deadAfterMs: 30_000,
    stop: { stopGraceMs: 100, killGraceMs: 100 },
  };
  const self = { ...bench.host, pid: process.pid, startTime: "1" };
  bench.writeFile("handler-host", JSON.stringify(self));
  expect(await stopLeftoverHost(options)).toMatchObject({ kind: "gone", wasAlive: false });
  for (const text of [
    "",
    "nonsense",
    '{"pid":1}',
    JSON.stringify({ ...self, pid: -1 }),
    JSON.stringify({ ...self, hostId: "elsewhere" }),
  ]) {
    bench.writeFile("handler-host", text);
    expect(await stopLeftoverHost(options)).toEqual({ kind: "none" });
  }
});

test("nothing is claimed while the daemon says so, and a call that is not offered is refused", async () => {
  const bench = await hostBench(program);
  bench.module(`export const t = defineTask("t", () => 1);`);
  let may = false;
  let asked = 0;
  const host = bench.process({
    mayClaim: () => {
      asked++;
      return may;
    },
  });
  await host.start();
  await offered(host, "t");
  const [id] = await bench.store.jobs.enqueue({ queue: "t", jobs: [{}] });
  await until(() => asked > 1);
  expect(await stateOf(bench, id)).toBe("queued");
  may = true;
  await until(async () => (await stateOf(bench, id)) === "done");
});
