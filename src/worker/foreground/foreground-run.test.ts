import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runBench } from "../../../test/support/run-bench.ts";
import { until } from "../../../test/support/until.ts";
import { WakefulError } from "../../domain/errors.ts";
import { asRunId, firstOwnerEpoch } from "../../domain/ids.ts";
import { type ProcessIdentity, sameProcess } from "../../processes/probe/identity.ts";
import { readExitRecord } from "../../processes/run-folder/exit-record.ts";
import { readCommand } from "../../processes/run-folder/run-files.ts";
import type { RunCommandApi } from "./foreground-api.ts";

const only = <T>(values: readonly T[]): T => {
  const [first] = values;
  if (first === undefined || values.length > 1) throw new Error(`one was expected, there are ${values.length}`);
  return first;
};
const unreachable = () => Promise.reject(new WakefulError("daemon_unreachable", "nobody"));

test("a command's exit code is passed through, and its run is done", async () => {
  const bench = await runBench();
  expect(await bench.run(["sh", "-c", "exit 0"])).toBe(0);
  const { runId, jobId, workerId, runDir } = only(bench.opened);
  expect(await bench.store.jobs.get(jobId)).toMatchObject({ queue: "run", state: "done", attempts: 1, maxAttempts: 1 });
  expect(await bench.store.runs.get(runId)).toMatchObject({ state: "ended", outcome: "succeeded", exitCode: 0, kind: "command" });
  expect((await bench.store.workers.get(workerId))?.state).toBe("stopped");
  expect(await readExitRecord({ runDir, runId })).toMatchObject({ kind: "exit", status: 0, bootId: bench.host.bootId });
});

test("a command that puts FIFOs in the place of its records does not hold its caller", async () => {
  const bench = await runBench();
  const swap = 'cd "$0"/runs/*; for name in command command.new exit exit.new; do rm -f "$name"; mkfifo "$name"; done; exit 4';
  expect(await bench.run(["sh", "-c", swap, bench.dataDir])).toBe(4);
  const { runId, runDir } = only(bench.opened);
  expect(await readExitRecord({ runDir, runId })).toMatchObject({ kind: "exit", status: 4 });
});

test("while free disk is low nothing is started, as nothing is claimed, and the caller is told", async () => {
  const bench = await runBench();
  bench.disk.low = true;
  await expect(bench.run(["sh", "-c", "exit 0"])).rejects.toMatchObject({
    code: "disk_full",
    message: expect.stringContaining("free some space"),
  });
  expect([bench.opened, await bench.store.upkeep.listJobs({ limit: 10 })]).toEqual([[], []]);
  bench.disk.low = false;
  expect(await bench.run(["sh", "-c", "exit 0"])).toBe(0);
});

test("a worker's session is neither renewed nor ended under the name of a run's", async () => {
  const bench = await runBench();
  const { store, sessions, self } = bench;
  const workerId = await store.workers.register({ name: "w", kind: "command", process: self, concurrency: 1, queues: [] });
  const ref = { workerId, runId: asRunId(99), ownerEpoch: firstOwnerEpoch };
  const before = await store.workers.get(workerId);
  bench.clock.advance(1000);
  for (const call of [
    () => sessions.renew(ref),
    () => sessions.end({ ...ref, exitCode: 0 }),
    () => sessions.abandon({ ...ref, reason: "" }),
    () => sessions.start({ ...ref, process: self }),
  ])
    await expect(call()).rejects.toMatchObject({ code: "conflict", details: { workerId } });
  expect(await store.workers.get(workerId)).toEqual(before);
});

test("a command that fails is failed at once and never retried", async () => {
  const bench = await runBench();
  expect(await bench.run(["sh", "-c", "exit 3"])).toBe(3);
  const { runId, jobId } = only(bench.opened);
  expect(await bench.store.jobs.get(jobId)).toMatchObject({
    state: "failed",
    attempts: 1,
    runCount: 1,
    error: expect.stringContaining("exit code 3"),
  });
  expect(await bench.store.runs.get(runId)).toMatchObject({ outcome: "failed", reason: "exit_code", exitCode: 3 });
});

test("the exit code of a signal is 128 and its number", async () => {
  const bench = await runBench();
  expect(await bench.run(["sh", "-c", "kill -KILL $$"])).toBe(137);
  expect(await bench.store.runs.get(only(bench.opened).runId)).toMatchObject({ exitCode: 137, outcome: "failed", message: "signal 9" });
});

test("a code above 128 that is no signal is told as a code [F-2.3]", async () => {
  const bench = await runBench();
  expect(await bench.run(["sh", "-c", "exit 129"])).toBe(129);
  expect(await bench.store.runs.get(only(bench.opened).runId)).toMatchObject({ outcome: "failed", message: "exit code 129" });
});

test.each([
  ["does not exist", "./absent", 127],
  ["may not be run", "./plain-file", 126],
])("a program that %s ends the run as a shell would", async (_, program, exitCode) => {
  const bench = await runBench();
  writeFileSync(join(bench.dataDir, "plain-file"), "not a program", { mode: 0o600 });
  expect(await bench.run([program])).toBe(exitCode);
  expect(bench.said.join()).toContain(program);
  expect((await bench.store.jobs.get(only(bench.opened).jobId))?.state).toBe("failed");
});

test("the run is judged by the command's own process, which is on disk and in the store while it works", async () => {
  const bench = await runBench();
  const running = bench.run(["sh", "-c", "while [ ! -e go ]; do sleep 0.01; done; exit 4"]);
  const { runId, runDir } = await until(() => bench.opened[0]);
  const command = await until(() => readCommand({ runDir, runId }));
  const stored = await until(async () => {
    const run = await bench.store.runs.get(runId);
    return run?.process?.pid === command.pid ? run : undefined;
  });
  expect(stored).toMatchObject({ state: "started", wrapper: { pid: process.pid } });
  expect(stored.process !== null && sameProcess(stored.process, command)).toBe(true);
  expect(sameProcess(command, bench.self)).toBe(false);
  writeFileSync(join(bench.dataDir, "go"), "");
  expect(await running).toBe(4);
});

test("the command gets our environment, the numbers of its run, and a mark by which it is found", async () => {
  const bench = await runBench();
  expect(
    await bench.run(["sh", "-c", 'echo "$KEPT $WAKEFUL_RUN_ID $WAKEFUL_RUN_MARKER $WAKEFUL_STAGE" > seen'], {
      environment: { PATH: process.env["PATH"], KEPT: "yes", WAKEFUL_RUN_MARKER: "9:elsewhere", WAKEFUL_STAGE: "outer" },
    }),
  ).toBe(0);
  const { runId } = only(bench.opened);
  expect(readFileSync(join(bench.dataDir, "seen"), "utf8").trim()).toBe(`yes ${runId} ${runId}:${bench.host.hostId}`);
});

test("an end that the daemon does not hear is kept on disk for its return", async () => {
  const bench = await runBench();
  const exitCode = await bench.run(["sh", "-c", "exit 5"], {
    daemon: { api: { ...bench.api, end: unreachable }, host: bench.host, self: bench.self },
  });
  expect(exitCode).toBe(5);
  const { runId, runDir } = only(bench.opened);
  expect((await bench.store.runs.get(runId))?.state).toBe("started");
  expect(await readExitRecord({ runDir, runId })).toMatchObject({ kind: "exit", status: 5 });
  expect(bench.said.join()).toContain("recorded when it is back");
});

test("a daemon that goes away while the command works does not disturb it", async () => {
  const bench = await runBench();
  const api = { ...bench.api, renew: unreachable, recordCommand: unreachable };
  const running = bench.run(["sh", "-c", "while [ ! -e go ]; do sleep 0.01; done"], {
    daemon: { api, host: bench.host, self: bench.self },
  });
  await until(() => bench.said.some((line) => line.includes("the command goes on")));
  writeFileSync(join(bench.dataDir, "go"), "");
  expect(await running).toBe(0);
  expect((await bench.store.jobs.get(only(bench.opened).jobId))?.state).toBe("done");
});

test("without a daemon a command runs, and a lease is refused", async () => {
  const bench = await runBench();
  expect(await bench.run(["sh", "-c", "exit 6"], { daemon: undefined })).toBe(6);
  const lease = { name: "merge", ttlMs: 60_000, waitMs: 0 };
  await expect(bench.run(["true"], { daemon: undefined, lease })).rejects.toMatchObject({ code: "daemon_unreachable" });
});

test("with a lease the command runs under its fencing number, and the lease is free afterwards", async () => {
  const bench = await runBench();
  const lease = { name: "merge", ttlMs: 60_000, waitMs: 0 };
  const running = bench.run(["sh", "-c", 'echo "$WAKEFUL_LEASE_FENCING" > fencing; while [ ! -e go ]; do sleep 0.01; done'], { lease });
  await until(() => existsSync(join(bench.dataDir, "fencing")) && readFileSync(join(bench.dataDir, "fencing"), "utf8") !== "");
  const held = only(await bench.store.leases.list({ limit: 10 }));
  expect(held).toMatchObject({ name: "merge", state: "held", holder: { kind: "run", runId: only(bench.opened).runId } });
  expect(Number(readFileSync(join(bench.dataDir, "fencing"), "utf8"))).toBe(held.fencing);
  writeFileSync(join(bench.dataDir, "go"), "");
  expect(await running).toBe(0);
  expect(only(await bench.store.leases.list({ limit: 10 })).state).toBe("free");
});

test("a lease that is taken is refused at once, or waited for in line", async () => {
  const bench = await runBench();
  const { runId } = await bench.sessions.open({ argv: ["other"], cwd: "/", process: bench.self });
  const taken = await bench.api.acquireLease({ name: "merge", ticket: "other", runId, ttlMs: 60_000, maxHoldMs: 1e9, waitMs: 0 });
  if (taken.kind !== "held") throw new Error("the lease was free");
  await expect(bench.run(["true"], { lease: { name: "merge", ttlMs: 60_000, waitMs: 0 } })).rejects.toMatchObject({
    code: "conflict",
    message: expect.stringContaining("run 7 has held it for"),
  });
  // Its run never began, and nobody will begin it later.
  expect(await bench.store.jobs.get(only(bench.opened).jobId)).toMatchObject({ state: "cancelled", attempts: 0 });
  const running = bench.run(["sh", "-c", "exit 8"], { lease: { name: "merge", ttlMs: 60_000, waitMs: 60_000 } });
  await until(() => bench.said.some((line) => line.includes('waiting for the lease "merge": run 7')));
  await bench.api.releaseLease({ name: "merge", fencing: taken.fencing });
  expect(await running).toBe(8);
});

test("a lease that is not granted in time is given up, and its place in line with it", async () => {
  const bench = await runBench();
  const { runId } = await bench.sessions.open({ argv: ["other"], cwd: "/", process: bench.self });
  await bench.api.acquireLease({ name: "merge", ticket: "other", runId, ttlMs: 60_000, maxHoldMs: 1e9, waitMs: 0 });
  const running = bench.run(["true"], { lease: { name: "merge", ttlMs: 60_000, waitMs: 5_000 } });
  await until(() => bench.said.length > 0);
  bench.clock.advance(5_001);
  await expect(running).rejects.toMatchObject({ code: "conflict" });
  expect(only(await bench.store.leases.list({ limit: 10 })).waiters).toBe(0);
});

test("a daemon that is away for a moment costs a waiter neither its patience nor its place in line", async () => {
  const bench = await runBench();
  const { runId } = await bench.sessions.open({ argv: ["other"], cwd: "/", process: bench.self });
  const taken = await bench.api.acquireLease({ name: "merge", ticket: "other", runId, ttlMs: 60_000, maxHoldMs: 1e9, waitMs: 0 });
  if (taken.kind !== "held") throw new Error("the lease was free");
  let away = false;
  const acquireLease: RunCommandApi["acquireLease"] = (request) => (away ? unreachable() : bench.api.acquireLease(request));
  const running = bench.run(["sh", "-c", "exit 8"], {
    daemon: { api: { ...bench.api, acquireLease }, host: bench.host, self: bench.self },
    lease: { name: "merge", ttlMs: 60_000, waitMs: 60_000 },
  });
  await until(() => bench.said.some((line) => line.includes("place 1 in line")));
  away = true;
  await until(() => bench.said.some((line) => line.includes("the daemon does not answer; waiting for it")));
  away = false;
  await bench.api.releaseLease({ name: "merge", fencing: taken.fencing });
  expect(await running).toBe(8);
});

test("a command that the daemon did not hear of is told again with a renewal", async () => {
  const bench = await runBench();
  let asked = 0;
  const recordCommand: RunCommandApi["recordCommand"] = (run) => (asked++ === 0 ? unreachable() : bench.api.recordCommand(run));
  const running = bench.run(["sh", "-c", "while [ ! -e go ]; do sleep 0.01; done"], {
    daemon: { api: { ...bench.api, recordCommand }, host: bench.host, self: bench.self },
  });
  const { runId } = await until(() => bench.opened[0]);
  await until(async () => {
    const run = await bench.store.runs.get(runId);
    return run?.process !== undefined && run.process !== null && run.process.pid !== process.pid;
  });
  writeFileSync(join(bench.dataDir, "go"), "");
  expect(await running).toBe(0);
});

test("an interrupt while waiting for a lease leaves the line and starts nothing", async () => {
  const bench = await runBench();
  const { runId } = await bench.sessions.open({ argv: ["other"], cwd: "/", process: bench.self });
  await bench.api.acquireLease({ name: "merge", ticket: "other", runId, ttlMs: 60_000, maxHoldMs: 1e9, waitMs: 0 });
  const running = bench.run(["touch", "started"], { lease: { name: "merge", ttlMs: 60_000, waitMs: 60_000 } });
  await until(() => bench.said.length > 0);
  bench.signal("SIGINT");
  expect(await running).toBe(130);
  expect(existsSync(join(bench.dataDir, "started"))).toBe(false);
  expect(only(await bench.store.leases.list({ limit: 10 })).waiters).toBe(0);
  expect((await bench.store.jobs.get(only(bench.opened).jobId))?.state).toBe("cancelled");
});

test("a command whose lease is lost is stopped", async () => {
  const bench = await runBench();
  const lease = { name: "merge", ttlMs: 30, waitMs: 0 };
  const api = { ...bench.api, renewLease: async () => false };
  expect(await bench.run(["sh", "-c", "exec sleep 60"], { lease, daemon: { api, host: bench.host, self: bench.self } })).toBe(143);
  expect(bench.said.join()).toContain("somebody else's now; stopping the command");
});

test("a run that was ended elsewhere goes on without a lease, and is stopped with one", async () => {
  const bench = await runBench();
  const lost = { ...bench.api, renew: async () => ({ lost: "a person cancelled it" }) };
  const daemon = { api: lost, host: bench.host, self: bench.self };
  const free = bench.run(["sh", "-c", "while [ ! -e go ]; do sleep 0.01; done"], { daemon });
  await until(() => bench.said.some((line) => line.includes("a person cancelled it); the command goes on")));
  writeFileSync(join(bench.dataDir, "go"), "");
  expect(await free).toBe(0);
  expect(await bench.run(["sh", "-c", "exec sleep 60"], { daemon, lease: { name: "merge", ttlMs: 60_000, waitMs: 0 } })).toBe(143);
});

test.each([
  ["SIGTERM", false, 40],
  ["SIGHUP", true, 41],
  ["SIGINT", false, 42],
])("%s reaches the command, whose answer is passed on", async (signal, interactive, exitCode) => {
  const bench = await runBench();
  const name = signal.slice(3);
  const running = bench.run(["sh", "-c", `trap 'exit ${exitCode}' ${name}; touch ready; while :; do sleep 0.01; done`], { interactive });
  await until(() => existsSync(join(bench.dataDir, "ready")));
  bench.signal(signal);
  expect(await running).toBe(exitCode);
});

test("an interrupt from a terminal is not sent a second time", async () => {
  const bench = await runBench();
  const running = bench.run(["sh", "-c", "trap 'touch twice' INT; touch ready; while [ ! -e go ]; do sleep 0.01; done; exit 9"], {
    interactive: true,
  });
  await until(() => existsSync(join(bench.dataDir, "ready")));
  bench.signal("SIGINT");
  writeFileSync(join(bench.dataDir, "go"), "");
  expect(await running).toBe(9);
  expect(existsSync(join(bench.dataDir, "twice"))).toBe(false);
});

test("openings at once each get their own run", async () => {
  const bench = await runBench();
  const opened = await Promise.all(
    Array.from({ length: 8 }, (_, n) => bench.sessions.open({ argv: [`c${n}`], cwd: "/", process: bench.self })),
  );
  for (const [n, { jobId, runId, workerId }] of opened.entries()) {
    expect(JSON.parse((await bench.store.jobs.get(jobId))?.payload ?? "{}")).toEqual({ argv: [`c${n}`], cwd: "/", workerId });
    expect(await bench.store.runs.get(runId)).toMatchObject({ jobId, workerId, state: "reserved" });
  }
});

test("a run that an opening took of another that lives goes back to it, and that is reported", async () => {
  const bench = await runBench();
  const { workerId, jobId, runId, ownerEpoch } = await bench.sessions.open({ argv: ["a"], cwd: "/", process: bench.self });
  await bench.sessions.abandon({ workerId, runId, ownerEpoch, reason: "only makes the queue" });
  const other = await bench.store.workers.register({ name: "other", kind: "run", process: bench.self, concurrency: 1, queues: ["run"] });
  const [theirs] = await bench.store.jobs.enqueue({
    queue: "run",
    maxAttempts: 1,
    jobs: [{ payload: JSON.stringify({ workerId: other }) }],
  });
  await bench.sessions.open({ argv: ["b"], cwd: "/", process: bench.self });
  expect((await bench.store.jobs.get(theirs ?? jobId))?.state).toBe("queued");
  expect(bench.events.filter(({ name }) => name === "run.ended").map(({ data }) => data)).toMatchObject([
    { jobId, outcome: "cancelled", reason: "never_began", jobState: "cancelled" },
    { jobId: theirs, outcome: "released", message: "claimed by another opening", jobState: "queued", actor: "run" },
  ]);
});

test("what an opener that died left in the queue is put away by the next one", async () => {
  const bench = await runBench();
  await bench.sessions.abandon({
    ...(await bench.sessions.open({ argv: ["a"], cwd: "/", process: bench.self })),
    reason: "only makes the queue",
  });
  const workerId = await bench.store.workers.register({ name: "gone", kind: "run", process: bench.self, concurrency: 1, queues: ["run"] });
  await bench.store.workers.leave(workerId);
  const [leftover] = await bench.store.jobs.enqueue({ queue: "run", maxAttempts: 1, jobs: [{ payload: JSON.stringify({ workerId }) }] });
  const opened = await bench.sessions.open({ argv: ["b"], cwd: "/", process: bench.self });
  expect(opened.jobId).not.toBe(leftover);
  expect((await bench.store.jobs.get(leftover ?? opened.jobId))?.state).toBe("cancelled");
});

test("a run folder that exists already raises the store's epoch, and the next opening succeeds", async () => {
  const bench = await runBench();
  const first = await bench.sessions.open({ argv: ["a"], cwd: "/", process: bench.self });
  mkdirSync(join(bench.dataDir, "runs", String(asRunId(first.runId + 1))));
  const epoch = await bench.store.upkeep.storeEpoch();
  await expect(bench.sessions.open({ argv: ["b"], cwd: "/", process: bench.self })).rejects.toMatchObject({ code: "unavailable" });
  expect(await bench.store.upkeep.storeEpoch()).toBe(epoch + 1);
  const next = await bench.sessions.open({ argv: ["c"], cwd: "/", process: bench.self });
  expect(next.runId).toBeGreaterThan(2 ** 40);
});

test("while everything is paused nothing is opened", async () => {
  const bench = await runBench();
  await bench.sessions.abandon({
    ...(await bench.sessions.open({ argv: ["a"], cwd: "/", process: bench.self })),
    reason: "made the queue",
  });
  await bench.store.upkeep.setQueuePaused({ queues: "all", paused: true, actor: "test" });
  await expect(bench.run(["true"])).rejects.toMatchObject({ code: "conflict", message: expect.stringContaining("wakeful resume --all") });
  await bench.store.upkeep.setQueuePaused({ queues: "all", paused: false, actor: "test" });
  expect(await bench.run(["true"])).toBe(0);
});

test("a process of another host is refused", async () => {
  const bench = await runBench();
  const foreign = { ...bench.self, hostId: "elsewhere" as ProcessIdentity["hostId"] };
  await expect(bench.sessions.open({ argv: ["a"], cwd: "/", process: foreign })).rejects.toMatchObject({ code: "bad_request" });
});

test("an end is repeatable, and one with another exit code changes nothing", async () => {
  const bench = await runBench();
  const run = await bench.sessions.open({ argv: ["a"], cwd: "/", process: bench.self });
  await bench.sessions.start({ ...run, process: bench.self });
  expect(await bench.sessions.end({ ...run, exitCode: 0 })).toBe(true);
  expect(await bench.sessions.end({ ...run, exitCode: 0 })).toBe(true);
  expect(await bench.sessions.end({ ...run, exitCode: 1 })).toBe(false);
  expect((await bench.store.jobs.get(run.jobId))?.state).toBe("done");
});
