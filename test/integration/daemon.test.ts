import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import { FakeClock } from "../../src/runtime/fake-clock.ts";
import { needOpenCheckout, nobody } from "../support/another-user.ts";
import { oneStage, startTestDaemon, submit, type TestDaemon, untilItem } from "../support/daemon.ts";
import { present } from "../support/present.ts";
import { skipTest } from "../support/skips.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

const run = promisify(execFile);

/** Waits until the store names the commands' own processes instead of their wrappers'. */
async function untilRunning({ client, dataDir }: Pick<TestDaemon, "client" | "dataDir">, count = 1) {
  return until(
    async () => {
      const { runs } = await client.call(api.listRuns, { query: { limit: 100 } });
      for (const each of runs) {
        const wrapper = await readFile(join(dataDir, "runs", String(each.id), "started"), "latin1");
        if (each.state !== "started" || each.process === null || Number(wrapper.split(" ")[1]) === each.process.pid) return undefined;
      }
      return runs.length >= count ? runs : undefined;
    },
    { what: `${count} running commands` },
  );
}

test("an item passes its stage, and its state file says so in the compatible form", async () => {
  const { client, dataDir } = await startTestDaemon({ yaml: oneStage('echo hello; echo done > "$WAKEFUL_WORK_DIR/out.txt"') });
  const id = await submit(client, "first");
  const { item, runs } = await untilItem(client, id, "done");
  expect(runs).toHaveLength(1);
  expect(await readFile(join(dataDir, "work", item.dir, "out.txt"), "utf8")).toBe("done\n");
  const state = await until(
    async () => {
      const found = JSON.parse(await readFile(join(dataDir, "work", item.dir, "state.json"), "utf8"));
      return found.state === "DONE" ? found : undefined;
    },
    { what: "state.json" },
  );
  expect(state.jobKey).toBe("first");
});

test("a command that is killed runs again at once, and why tells it", async () => {
  const script = 'if [ "$WAKEFUL_ATTEMPT" = 1 ]; then exec sleep 600; fi';
  const { client, dataDir } = await startTestDaemon({ yaml: oneStage(script, "maxLosses: 3") });
  const id = await submit(client, "killed");
  const [first] = await untilRunning({ client, dataDir });
  process.kill(present(first?.process?.pid), "SIGKILL");
  const { runs, jobs } = await untilItem(client, id, "done");
  expect(runs.find(({ attempt }) => attempt === 1)).toMatchObject({ outcome: "lost", spent: "loss" });
  const { text } = await client.call(api.why, { query: { job: jobs[0]?.id ?? 0 } });
  expect(text).toContain("Killed: signal 9. ");
});

test("commands outlive their daemon: the next one adopts them before its reaper starts, none is restarted [B-5, B-74]", async () => {
  const folder = tempDir("adoption");
  const yaml = oneStage('while [ ! -e "$WAKEFUL_WORK_DIR/go" ]; do sleep 0.05; done', "concurrency: 3");
  const before = await startTestDaemon({ yaml, folder });
  const ids = [await submit(before.client, "a"), await submit(before.client, "b"), await submit(before.client, "c")];
  const running = await untilRunning(before, 3);
  await before.stop("leave");
  const after = await startTestDaemon({ yaml, folder });
  expect(after.daemon.adoption).toMatchObject({ adopted: 3, requeued: 0 });
  const lineOf = (text: string): number => after.log.findIndex((line) => line.includes(text));
  expect(after.log.filter((line) => line.includes(" run.adopted "))).toHaveLength(3);
  const [adopted, started] = [after.log.findLastIndex((line) => line.includes(" run.adopted ")), lineOf("loop=job-reaper")];
  expect(started, "the reaper starts when what could be adopted has been").toBeGreaterThan(adopted);
  for (const told of ["loop.started", "intervalMs=1000", "enabled=true", '"deadTicks":2', '"maxRunningMs":86400000', '"leaseReclaim":true'])
    expect(after.log[started]).toContain(told);
  const now = await untilRunning(after, 3);
  expect(new Set(now.map((each) => each.process?.pid))).toEqual(new Set(running.map((each) => each.process?.pid)));
  for (const key of ["a", "b", "c"]) await writeFile(join(after.dataDir, "work", key, "go"), "");
  for (const id of ids) expect((await untilItem(after.client, id, "done")).runs).toHaveLength(1);
});

test("a second daemon in the same folder is refused and names the first", async () => {
  const { folder, daemon } = await startTestDaemon({ yaml: oneStage("true") });
  await expect(startTestDaemon({ yaml: oneStage("true"), folder })).rejects.toMatchObject({
    code: "data_dir_locked",
    message: expect.stringContaining(String(process.pid)),
  });
  expect(daemon.url).toMatch(/^http:/);
});

test("a data folder that cannot be written refuses the start with what to do", async (context) => {
  needOpenCheckout(context);
  const folder = tempDir("read-only");
  await writeFile(join(folder, "wakeful.yaml"), oneStage("true"));
  await mkdir(join(folder, "data"));
  await chmod(join(folder, "data"), 0o555);
  await chmod(folder, 0o755);
  // Root may write everywhere, so its daemon runs as another user; the mode stops every other user.
  const another = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {};
  const child = spawn(process.execPath, ["--import", "tsx", join(import.meta.dirname, "../support/start-daemon-child.ts"), folder], {
    cwd: join(import.meta.dirname, "../.."),
    ...another,
    env: { PATH: process.env.PATH, HOME: "/tmp" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  await once(child, "close");
  await chmod(join(folder, "data"), 0o755);
  expect(said).toContain("store_read_only");
  expect(await readdir(join(folder, "data"))).toEqual([]);
});

test("a corrupt store refuses the start and is left as it is", async () => {
  const folder = tempDir("corrupt");
  await mkdir(join(folder, "data"), { mode: 0o700 });
  const garbage = Buffer.alloc(8192, "not a database ");
  await writeFile(join(folder, "data", "wakeful.db"), garbage);
  await expect(startTestDaemon({ yaml: oneStage("true"), folder })).rejects.toMatchObject({ code: "store_corrupt" });
  expect((await readFile(join(folder, "data", "wakeful.db"))).equals(garbage)).toBe(true);
});

test("a full disk loses nothing: what runs is settled when there is room again", async (context) => {
  const folder = tempDir("full-disk");
  await run("mount", ["-t", "tmpfs", "-o", "size=8m,mode=0755", "tmpfs", folder]).catch(() =>
    skipTest(context, "mounting a tmpfs is not permitted"),
  );
  onTestFinished(async () => {
    await run("umount", ["-l", folder]);
  });
  const yaml = oneStage('while [ ! -e "$WAKEFUL_WORK_DIR/go" ]; do sleep 0.05; done');
  const { client, dataDir, stop, log } = await startTestDaemon({ yaml, folder, flags: { "disk.minFreeBytes": 0, "disk.ballastBytes": 0 } });
  const id = await submit(client, "survivor");
  await untilRunning({ client, dataDir });
  const fill = join(folder, "fill");
  await run("sh", ["-c", `dd if=/dev/zero of=${fill} bs=4k 2>/dev/null || true`]);
  // An empty file takes no block. The command ends while there is no room; its exit record was preallocated.
  await writeFile(join(dataDir, "work", "survivor", "go"), "");
  const [runId = ""] = await readdir(join(dataDir, "runs"));
  const record = await until(() => readFile(join(dataDir, "runs", runId, "exit"), "utf8").catch(() => undefined), {
    what: "the exit record",
  });
  expect(record).toMatch(/^1 0 /);
  await until(() => log.some((line) => line.includes("full")), { what: "the daemon to say that the disk is full" });
  expect((await client.call(api.getItem, { params: { id } })).item.state).toBe("active");
  await run("rm", ["-f", fill]);
  const { runs } = await untilItem(client, id, "done");
  expect(runs).toHaveLength(1);
  await stop();
});

test("a wall clock set an hour either way, a suspend and a stall of 20 minutes judge nobody", async () => {
  const clock = new FakeClock();
  const yaml = oneStage('while [ ! -e "$WAKEFUL_WORK_DIR/go" ]; do sleep 0.05; done', "heartbeat: { timeout: 60s }");
  const { client, dataDir, log } = await startTestDaemon({ yaml, clock });
  const id = await submit(client, "steady");
  await untilRunning({ client, dataDir });
  const leaps = [
    () => clock.stepWall(3_600_000),
    () => clock.stepWall(-7_200_000),
    () => clock.suspend(20 * 60_000),
    () => clock.advance(20 * 60_000),
  ];
  for (const leap of leaps) {
    leap();
    clock.advance(1000);
    await client.call(api.runLoop, { params: { name: "job-reaper" }, body: {} });
    await client.call(api.runLoop, { params: { name: "worker-reaper" }, body: {} });
  }
  const { runs } = await client.call(api.listRuns, { query: { limit: 10 } });
  expect(runs).toHaveLength(1);
  expect(log.filter((line) => line.includes("run.reaped") || line.includes("worker.dead"))).toEqual([]);
  await writeFile(join(dataDir, "work", "steady", "go"), "");
  expect((await untilItem(client, id, "done")).runs).toHaveLength(1);
});

test("cancelling an item stops its command and gives the job's slot back only then", async () => {
  const { client, dataDir } = await startTestDaemon({
    yaml: oneStage("trap '' TERM; sleep 600 & wait; sleep 600", "concurrency: 1"),
    flags: { "stop.stopGraceMs": 200 },
  });
  const id = await submit(client, "stubborn");
  const [live] = await untilRunning({ client, dataDir });
  await client.call(api.cancelItem, { params: { id }, body: { reason: "not wanted" } });
  await untilItem(client, id, "cancelled");
  const pid = live?.process?.pid ?? 0;
  await until(
    async () =>
      !(await readFile(`/proc/${pid}/stat`, "utf8").then(
        (stat) => !stat.includes(") Z"),
        () => false,
      )),
    { what: "the command to be gone" },
  );
  await until(async () => (await client.call(api.listSlots, {})).slots.every((slot) => slot.used === 0), {
    what: "the slot to be free",
  });
});

test("the daemon and its parts start and stop twice without a trace of the first time", async () => {
  const folder = tempDir("twice");
  for (const key of ["one", "two"]) {
    const { client, stop } = await startTestDaemon({ yaml: oneStage("true"), folder });
    await untilItem(client, await submit(client, key), "done");
    await stop("drain");
  }
});

test("a paused worker claims nothing, keeps what it has, and stays paused over a restart", async () => {
  const yaml = oneStage('while [ ! -e "$WAKEFUL_WORK_DIR/go" ]; do sleep 0.05; done');
  const folder = tempDir("paused");
  const first = await startTestDaemon({ yaml, folder });
  const running = await submit(first.client, "running");
  await untilRunning(first);
  const workerOf = async ({ client }: TestDaemon) => {
    const { workers } = await client.call(api.listWorkers, {});
    return workers.find(({ kind }) => kind === "command") ?? expect.fail("no worker");
  };
  await first.client.call(api.pause, { body: { target: { kind: "worker", id: (await workerOf(first)).id } } });
  const waiting = await submit(first.client, "waiting");
  await writeFile(join(first.dataDir, "work", "running", "go"), "");
  await untilItem(first.client, running, "done");
  await first.stop();
  const second = await startTestDaemon({ yaml, folder });
  const worker = await workerOf(second);
  expect(worker).toMatchObject({ paused: true });
  // The enqueue, the end of the other run and the new daemon each made it look for work.
  expect((await second.client.call(api.getItem, { params: { id: waiting } })).runs).toEqual([]);
  await second.client.call(api.resume, { body: { target: { kind: "worker", id: worker.id } } });
  await untilRunning(second);
  await writeFile(join(second.dataDir, "work", "waiting", "go"), "");
  await untilItem(second.client, waiting, "done");
});
