import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import type { JobWire, RunWire } from "../../src/protocol/api/rows.ts";
import { argvWireMax } from "../../src/protocol/api/run-sessions.ts";
import type { Client } from "../../src/protocol/client.ts";
import { startTestDaemon, type TestDaemon } from "../support/daemon.ts";
import { present } from "../support/present.ts";
import { skipTest } from "../support/skips.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";
import { bundleWakeful, startWakeful, type WakefulProcess } from "../support/wakeful-program.ts";
import { writtenPid } from "../support/written-pid.ts";

// Port 0: the command line then knows the daemon by its socket alone, and finds no other daemon of this machine.
const yaml = "dataDir: ./data\nhttp: { listen: 127.0.0.1:0 }\n";

let program: string;
let remove: () => void;
beforeAll(async () => {
  ({ program, remove } = await bundleWakeful());
});
afterAll(() => remove());

const wakeful = (folder: string, ...argv: string[]): WakefulProcess => startWakeful(program, argv, { cwd: folder });
const started = (folder?: string): Promise<TestDaemon> => startTestDaemon({ yaml, folder });

/** A command that writes its pid to `NAME.pid`, waits for the file `NAME.go` and ends with `exitCode`. */
const waiting = (name: string, exitCode = 0): string[] => [
  "sh",
  "-c",
  `echo $$ > ${name}.pid; while [ ! -e ${name}.go ]; do sleep 0.02; done; echo ${name} >> order; exit ${exitCode}`,
];

/** The pid of a running {@link waiting} command; it is killed when the test ends. */
async function atWork(folder: string, name: string, of: WakefulProcess): Promise<number> {
  const path = join(folder, `${name}.pid`);
  const failed = of.ended.then((code) => {
    throw new Error(`${name} was never at work, wakeful ended with ${code}: ${of.err()}`);
  });
  const seen = writtenPid(path);
  const pid = await Promise.race([seen, failed]);
  onTestFinished(() => kill(pid));
  return pid;
}
const go = (folder: string, name: string): void => writeFileSync(join(folder, `${name}.go`), "");

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

async function onlyRun(client: Client): Promise<{ readonly job: JobWire; readonly run: RunWire }> {
  const { jobs } = await client.call(api.listJobs, {});
  expect(jobs).toHaveLength(1);
  const { job, runs } = await client.call(api.getJob, { params: { id: present(jobs[0]).id } });
  return { job, run: present(runs[0]) };
}

async function untilEnded(client: Client): Promise<{ readonly job: JobWire; readonly run: RunWire }> {
  return await until(
    async () => {
      const seen = await onlyRun(client);
      return seen.run.state === "ended" ? seen : undefined;
    },
    { what: "the run to end" },
  );
}

const leaseOf = async (client: Client, name: string) => (await client.call(api.listLeases, {})).leases.find((lease) => lease.name === name);

test("exit code and output are the command's own, and the daemon tells what ran", async () => {
  const { folder, client } = await started();
  const running = wakeful(folder, "run", "--", "sh", "-c", "echo to-out; echo to-err >&2; exit 3");
  expect([await running.ended, running.out(), running.err()]).toEqual([3, "to-out\n", "to-err\n"]);
  const { job, run } = await onlyRun(client);
  expect(job).toMatchObject({
    queue: "run",
    state: "failed",
    attempts: 1,
    payload: { argv: ["sh", "-c", expect.any(String)], cwd: folder },
  });
  expect(run).toMatchObject({ state: "ended", outcome: "failed", exitCode: 3 });
  const why = wakeful(folder, "why", `job:${job.id}`);
  expect(await why.ended).toBe(0);
  expect(why.out()).toContain("exit code 3");
  const retry = wakeful(folder, "retry", `job:${job.id}`);
  expect([await retry.ended, retry.err()]).toEqual([5, expect.stringContaining("run it again with `wakeful run`")]);
});

test("a command ended by a signal answers 128 + n, and one that succeeds is done", async () => {
  const { folder, client } = await started();
  expect(await wakeful(folder, "run", "--", "sh", "-c", "kill -TERM $$").ended).toBe(143);
  expect(await wakeful(folder, "run", "true").ended).toBe(0);
  expect(await wakeful(folder, "run", "./absent").ended).toBe(127);
  const { jobs } = await client.call(api.listJobs, {});
  expect(jobs.map((job) => job.state).toSorted()).toEqual(["done", "failed", "failed"]);
});

test("while it runs it is listed with its session, and a signal to it reaches the command", async () => {
  const { folder, client } = await started();
  const running = wakeful(folder, "run", "--", ...waiting("a"));
  const pid = await atWork(folder, "a", running);
  const { runs } = await until(async () => {
    const list = await client.call(api.listRuns, {});
    return list.runs[0]?.process?.pid === pid ? list : undefined;
  });
  expect(runs).toMatchObject([{ queue: "run", state: "started" }]);
  const { workers } = await client.call(api.listWorkers, {});
  expect(workers.find((worker) => worker.kind === "run")).toMatchObject({ state: "live", process: { pid: running.pid } });
  const listed = wakeful(folder, "ls", "runs");
  expect([await listed.ended, listed.out()]).toEqual([0, expect.stringContaining("run")]);
  running.child.kill("SIGTERM");
  expect(await running.ended).toBe(143);
  expect((await untilEnded(client)).run.exitCode).toBe(143);
});

test("what a command leaves in the background is named when it ends, and lives on [F-2.10]", async () => {
  const { folder } = await started();
  const script = "sleep 600 & echo $! > plain.pid; setsid sleep 600 > /dev/null 2>&1 & exit 0";
  const run = wakeful(folder, "run", "--lease", "deploy", "--", "sh", "-c", script);
  const left = await writtenPid(join(folder, "plain.pid"));
  onTestFinished(() => kill(left));
  await until(() => run.err().includes("behind"), { what: "them to be named" });
  const pids = present(/left 2 processes behind: (\d+), (\d+)\. They live on, and the lease goes to the next/.exec(run.err()))
    .slice(1)
    .map(Number);
  for (const pid of pids) onTestFinished(() => kill(pid));
  expect(pids).toContain(left);
  for (const pid of pids) process.kill(pid, 0);
  // Its own output is held open by what lives on.
  await until(() => run.child.exitCode !== null, { what: "the call to end" });
  expect(run.child.exitCode).toBe(0);
  const tidy = wakeful(folder, "run", "--", "true");
  expect([await tidy.ended, tidy.err()]).toEqual([0, expect.not.stringContaining("behind")]);
});

test("a word that is cut for the list is never cut within a character: the call would be refused [F-8.1]", async () => {
  const { folder, client } = await started();
  for (const before of ["", "x"]) {
    const run = wakeful(folder, "run", "--", "true", `${before}${"😀".repeat(argvWireMax.characters)}`);
    expect([await run.ended, run.err()]).toEqual([0, ""]);
  }
  expect((await client.call(api.listJobs, {})).jobs).toHaveLength(2);
});

test("a cancelled run is stopped", async () => {
  const { folder, client } = await started();
  const running = wakeful(folder, "run", "--", ...waiting("a"));
  await atWork(folder, "a", running);
  const { job } = await onlyRun(client);
  await client.call(api.cancelJob, { params: { id: job.id }, body: { reason: "not needed" } });
  expect(await running.ended).toBe(143);
  expect((await onlyRun(client)).job.state).toBe("cancelled");
});

test("two that want one lease run one after the other, in the order of their asking [B-3, B-56]", async () => {
  const { folder, client } = await started();
  const lease = ["run", "--lease", "deploy", "--wait", "1h", "--"];
  const first = wakeful(folder, ...lease, ...waiting("first", 1));
  await atWork(folder, "first", first);
  const second = wakeful(folder, ...lease, ...waiting("second", 2));
  await until(() => second.err().includes('waiting for the lease "deploy": job:'));
  const third = wakeful(folder, ...lease, ...waiting("third", 3));
  await until(() => third.err().includes("place 2 in line"));
  for (const name of ["third", "second", "first"]) go(folder, name);
  expect(await Promise.all([first.ended, second.ended, third.ended])).toEqual([1, 2, 3]);
  expect(readFileSync(join(folder, "order"), "utf8")).toBe("first\nsecond\nthird\n");
  expect((await leaseOf(client, "deploy"))?.state).toBe("free");
});

test("without --wait a lease that is held is refused at once, and its holder is named", async () => {
  const { folder } = await started();
  const holder = wakeful(folder, "run", "--lease", "deploy", "--", ...waiting("a"));
  await atWork(folder, "a", holder);
  const refused = wakeful(folder, "run", "--lease", "deploy", "--", "touch", "never");
  expect(await refused.ended).toBe(5);
  expect(refused.err()).toMatch(/The lease "deploy" was not granted: job:\d+ has held it for/);
  expect(existsSync(join(folder, "never"))).toBe(false);
});

test("holder killed with its command: the waiter has the lease long before its TTL [B-3, B-56]", async () => {
  const { folder, client } = await started();
  const holder = wakeful(folder, "run", "--lease", "deploy", "--ttl", "1d", "--", ...waiting("a"));
  const command = await atWork(folder, "a", holder);
  const waiter = wakeful(folder, "run", "--lease", "deploy", "--wait", "1h", "--", "sh", "-c", "exit 4");
  await until(() => waiter.err().includes("waiting for the lease"));
  const before = present(await leaseOf(client, "deploy"));
  holder.child.kill("SIGKILL");
  kill(command);
  expect(await waiter.ended).toBe(4);
  expect(present(await leaseOf(client, "deploy")).fencing).toBeGreaterThan(before.fencing);
});

test("only `wakeful run` killed: the lease stays with the command until the command ends [B-3, B-56]", async () => {
  const { folder, client } = await started();
  // The TTL passes during the test: a holder that is seen alive keeps its lease all the same.
  const holder = wakeful(folder, "run", "--lease", "deploy", "--ttl", "1s", "--", ...waiting("a"));
  const command = await atWork(folder, "a", holder);
  await until(async () => (await client.call(api.listRuns, {})).runs[0]?.process?.pid === command);
  const waiter = wakeful(folder, "run", "--lease", "deploy", "--wait", "1h", "--", "sh", "-c", "echo waiter >> order");
  await until(() => waiter.err().includes("waiting for the lease"));
  const { fencing } = present(await leaseOf(client, "deploy"));
  holder.child.kill("SIGKILL");
  await until(async () => (await client.call(api.listActions, {})).actions.some(({ action }) => action === "worker.buried"));
  const overdue = await until(async () => {
    const lease = present(await leaseOf(client, "deploy"));
    return lease.alertedAt === null && lease.fencing === fencing ? undefined : lease;
  });
  expect([overdue.state, overdue.fencing]).toEqual(["held", fencing]);
  expect(() => process.kill(command, 0)).not.toThrow();
  go(folder, "a");
  expect(await waiter.ended).toBe(0);
  expect(readFileSync(join(folder, "order"), "utf8")).toBe("a\nwaiter\n");
});

test("what a killed holder's command has started is stopped before the lease goes on [B-56]", async (context) => {
  if (process.platform !== "linux") skipTest(context, "processes that have left their parents are found on Linux alone");
  const { folder, client } = await started();
  const [sh = "", c = "", script = ""] = waiting("a");
  const holder = wakeful(folder, "run", "--lease", "deploy", "--", sh, c, `setsid sleep 600 & echo $! > child; ${script}`);
  const command = await atWork(folder, "a", holder);
  const child = await writtenPid(join(folder, "child"));
  onTestFinished(() => kill(child));
  await until(async () => (await client.call(api.listRuns, {})).runs[0]?.process?.pid === command);
  // A dead process that nobody reaps is still listed, as a zombie.
  const lives = `[ -e /proc/${child} ] && ! grep -q '^State:.Z' /proc/${child}/status`;
  const waiter = wakeful(folder, "run", "--lease", "deploy", "--wait", "1h", "--", "sh", "-c", `if ${lives}; then exit 9; fi`);
  await until(() => waiter.err().includes("waiting for the lease"));
  holder.child.kill("SIGKILL");
  kill(command);
  expect(await waiter.ended).toBe(0);
});

test("a waiter killed in line is passed over", async () => {
  const { folder, client } = await started();
  const holder = wakeful(folder, "run", "--lease", "deploy", "--", ...waiting("a"));
  await atWork(folder, "a", holder);
  const killed = wakeful(folder, "run", "--lease", "deploy", "--wait", "1h", "--", "touch", "never");
  await until(() => killed.err().includes("waiting for the lease"));
  killed.child.kill("SIGKILL");
  const next = wakeful(folder, "run", "--lease", "deploy", "--wait", "1h", "--", "true");
  await until(() => next.err().includes("waiting for the lease"));
  go(folder, "a");
  expect(await next.ended).toBe(0);
  expect(existsSync(join(folder, "never"))).toBe(false);
  // No worker could start it, so it is not queued again.
  const { jobs } = await until(async () => {
    const list = await client.call(api.listJobs, {});
    return list.jobs.some((job) => job.state === "running" || job.state === "queued") ? undefined : list;
  });
  expect(jobs.map((job) => job.state).toSorted()).toEqual(["cancelled", "done", "done"]);
});

test("the daemon is stopped and started in the middle: the command goes on, and its end is recorded", async () => {
  const folder = tempDir("run-command");
  const before = await started(folder);
  const running = wakeful(folder, "run", "--lease", "deploy", "--", ...waiting("a", 6));
  const command = await atWork(folder, "a", running);
  await before.stop("leave");
  const after = await started(folder);
  expect(after.daemon.adoption).toEqual({ adopted: 0, requeued: 0, stopped: 0 });
  expect((await leaseOf(after.client, "deploy"))?.state).toBe("held");
  expect(() => process.kill(command, 0)).not.toThrow();
  go(folder, "a");
  expect(await running.ended).toBe(6);
  expect((await untilEnded(after.client)).run).toMatchObject({ exitCode: 6, outcome: "failed" });
  expect((await leaseOf(after.client, "deploy"))?.state).toBe("free");
});

test.each([
  [0, "done", "succeeded"],
  [9, "failed", "failed"],
])("a command that ends with %i while the daemon is away is %s when it is back", async (exitCode, state, outcome) => {
  const folder = tempDir("run-command");
  const before = await started(folder);
  const running = wakeful(folder, "run", "--lease", "deploy", "--", ...waiting("a", exitCode));
  await atWork(folder, "a", running);
  await before.stop("leave");
  go(folder, "a");
  expect(await running.ended).toBe(exitCode);
  expect(running.err()).toContain("recorded when it is back");
  const { client } = await started(folder);
  const { job, run } = await untilEnded(client);
  expect([job.state, run.outcome, run.exitCode]).toEqual([state, outcome, exitCode]);
  await until(async () => (await leaseOf(client, "deploy"))?.state === "free");
});

test("a command that dies with its `wakeful run` while the daemon is away is lost, and not run again", async () => {
  const folder = tempDir("run-command");
  const before = await started(folder);
  const running = wakeful(folder, "run", "--", ...waiting("a"));
  const command = await atWork(folder, "a", running);
  // Killed before it was recorded, it would look as if it had never begun.
  await until(async () => (await before.client.call(api.listRuns, {})).runs[0]?.process?.pid === command);
  await before.stop("leave");
  running.child.kill("SIGKILL");
  kill(command);
  await running.ended;
  const { client } = await started(folder);
  const { job, run } = await untilEnded(client);
  expect([job.state, run.outcome]).toEqual(["failed", "lost"]);
});

test("without a daemon a command runs, and a lease is refused as unavailable", async () => {
  const folder = tempDir("run-command");
  writeFileSync(join(folder, "wakeful.yaml"), yaml);
  const running = wakeful(folder, "run", "--", "sh", "-c", "echo done; exit 3");
  expect([await running.ended, running.out()]).toEqual([3, "done\n"]);
  expect(running.err()).toContain("no daemon answers");
  const refused = wakeful(folder, "run", "--lease", "deploy", "--", "touch", "never");
  expect(await refused.ended).toBe(7);
  expect(refused.err()).toContain('The lease "deploy" cannot be held without a daemon: start it with `wakeful up`.');
  expect(existsSync(join(folder, "never"))).toBe(false);
});

test.each([
  [["--lease", ""]],
  [["--lease", " deploy"]],
  [["--lease", "a\nb"]],
  [["--lease", "x".repeat(201)]],
  [["--lease", "deploy", "--ttl", "10ms"]],
  [["--lease", "deploy", "--wait", "31d"]],
  [["--lease", "deploy", "--wait", "soon"]],
  [["--ttl", "9s"]],
])("%j is refused as a wrong call, and nothing is started", async (flags) => {
  const { folder, client } = await started();
  const refused = wakeful(folder, "run", ...flags, "--", "touch", "never");
  expect([await refused.ended, existsSync(join(folder, "never"))]).toEqual([2, false]);
  expect((await client.call(api.listJobs, {})).jobs).toEqual([]);
});
