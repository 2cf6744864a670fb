import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, type TestContext, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import type { Client } from "../../src/protocol/client.ts";
import { needOpenCheckout, nobody } from "../support/another-user.ts";
import { startTestDaemon, submit, untilItem } from "../support/daemon.ts";
import { readyDaemon } from "../support/ready-daemon.ts";
import { skipTest } from "../support/skips.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";
import { bundleWakeful, startWakeful } from "../support/wakeful-program.ts";

let bundle: Awaited<ReturnType<typeof bundleWakeful>>;
beforeAll(async () => {
  bundle = await bundleWakeful();
});
afterAll(() => bundle.remove());

/** `p` runs one stage as given, `q` one that needs nothing. Losses and attempts are scarce. */
const pipelines = (command: string, stage = "", more = ""): string => `
dataDir: ./data
http: { listen: "127.0.0.1:0" }
${more}
pipelines:
  p:
    stages:
      work: { run: { command: ${command} }, attempts: 3, retry: { min: 0s, max: 0s }, timeout: 1h${stage === "" ? "" : `, ${stage}`} }
  q:
    stages:
      work: { run: { command: ["true"] }, attempts: 1, timeout: 1h }
`;

async function submitTo(client: Client, name: string, key: string): Promise<number> {
  return (await client.call(api.submitItem, { params: { name }, body: { key } })).item.id;
}

async function jobOf(client: Client, itemId: number) {
  const [job] = (await client.call(api.getItem, { params: { id: itemId } })).jobs;
  if (job === undefined) throw new Error(`item ${itemId} has no job`);
  return job;
}

const readyz = async (client: Client) => await client.call(api.readyz, {});

/** Runs of the item so far that ended without a start. */
async function preventedRuns(client: Client, itemId: number): Promise<number> {
  const { runs } = await client.call(api.getJob, { params: { id: (await jobOf(client, itemId)).id } });
  return runs.filter(({ outcome }) => outcome === "never_started").length;
}

const unspent = { state: "queued", attempts: 0, losses: 0 };

async function whyText(client: Client, itemId: number): Promise<string> {
  return JSON.stringify(await client.call(api.why, { query: { item: itemId } }));
}

function mountTmpfs(context: TestContext, folder: string, options: string): void {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", folder], { stdio: "ignore" });
  } catch {
    skipTest(context, "a file system cannot be mounted here");
  }
}

const unmount = (folder: string): void => void execFileSync("umount", ["-l", folder], { stdio: "ignore" });

function unmountAtEnd(folder: string): void {
  onTestFinished(() => {
    try {
      unmount(folder);
    } catch {
      // Not mounted any more.
    }
  });
}

test.each([
  ["a name", "[no-such-program, x]", "cannot start: no-such-program is not in PATH"],
  ["a path", "[/no/such/program]", "cannot start: /no/such/program does not exist"],
  ["a file that may not be executed", "[/etc/passwd]", "cannot start: /etc/passwd is no file that the daemon's user may execute"],
])("a program that is missing fails at once and says so: %s [F-2.6]", async (_what, command, reason) => {
  const { client } = await startTestDaemon({ yaml: pipelines(command, "onExhausted: fail") });
  const id = await submit(client, "a");
  await untilItem(client, id, "failed");
  expect(await jobOf(client, id)).toMatchObject({ state: "failed", attempts: 1, losses: 0, error: expect.stringContaining(reason) });
});

test("a program whose own exit code is 127 was started, and is tried again", async () => {
  const { client } = await startTestDaemon({ yaml: pipelines('[sh, -c, "exit 127"]', "onExhausted: fail") });
  const id = await submit(client, "a");
  await untilItem(client, id, "failed");
  expect(await jobOf(client, id)).toMatchObject({ attempts: 3, error: expect.stringContaining("exit code 127") });
});

test("a working directory that was removed is the job's own fault, and spends its attempts", async () => {
  const folder = tempDir("cwd");
  mkdirSync(join(folder, "place"));
  const { client } = await startTestDaemon({ folder, yaml: pipelines('["true"]', "cwd: ./place, onExhausted: fail") });
  rmSync(join(folder, "place"), { recursive: true });
  const id = await submit(client, "a");
  await untilItem(client, id, "failed");
  expect(await jobOf(client, id)).toMatchObject({ attempts: 3, error: expect.stringContaining("place does not exist") });
});

test("a secret that is missing spends nothing, holds back its stage alone, and work begins soon after it is there [F-8.4]", async () => {
  const folder = tempDir("secret");
  const yaml = pipelines('[sh, -c, "test $TOKEN = s3cret"]', "env: { TOKEN: { file: ./token } }");
  const { client, log, dataDir } = await startTestDaemon({ folder, yaml });
  const id = await submit(client, "a");
  await until(async () => (await preventedRuns(client, id)) > 0, { what: "a start to be prevented" });
  const other = await submitTo(client, "q", "b");
  await untilItem(client, other, "done");
  expect(await jobOf(client, id)).toMatchObject(unspent);
  expect(await readyz(client)).toMatchObject({ ready: true, heldBack: [{ queue: "p/work", why: expect.stringContaining("token") }] });
  expect(await whyText(client, id)).toMatch(/This host cannot start its command: .*token/);
  const alerts = () => execFileSync("cat", [join(dataDir, "alerts.jsonl")]).toString();
  await until(async () => alerts().includes("start_prevented"), { what: "an alert" });
  const before = await preventedRuns(client, id);
  writeFileSync(join(folder, "token"), "s3cret\n");
  await untilItem(client, id, "done");
  expect(await jobOf(client, id)).toMatchObject({ attempts: 1, losses: 0 });
  // It is not tried with a job while the file is missing.
  expect(before).toBeLessThanOrEqual(2);
  expect(log.filter((line) => line.includes("start.prevented"))).toHaveLength(1);
  await until(async () => alerts().includes("again"), { what: "the alert's end" });
  expect((await readyz(client)).heldBack).toEqual([]);
});

test("a command at work proves that starts are possible again, however long it takes [F-8.4]", async () => {
  const folder = tempDir("long");
  const yaml = pipelines('[sh, -c, "until [ -e ../go ]; do sleep 0.1; done"]', "cwd: ./data, env: { TOKEN: { file: ./token } }");
  const { client } = await startTestDaemon({ folder, yaml });
  const ids = [await submit(client, "a"), await submit(client, "b")];
  await until(async () => (await readyz(client)).heldBack.length > 0);
  writeFileSync(join(folder, "token"), "x\n");
  await until(async () => (await readyz(client)).heldBack.length === 0, { what: "the stage to be open again" });
  for (const id of ids) expect((await client.call(api.getItem, { params: { id } })).item.state).toBe("active");
  writeFileSync(join(folder, "go"), "");
  for (const id of ids) await untilItem(client, id, "done");
});

test("without free inodes queued jobs wait, however many and however often, and run when there are some [F-8.4]", async (context) => {
  const folder = tempDir("inodes");
  mkdirSync(join(folder, "data"), { mode: 0o700 });
  mountTmpfs(context, join(folder, "data"), "size=64m,nr_inodes=400,mode=700");
  unmountAtEnd(join(folder, "data"));
  const yaml = pipelines('["true"]', "", "disk: { minFreeBytes: 0, ballastBytes: 0, minFreeInodes: 0 }");
  const daemon = await startTestDaemon({ folder, yaml });
  const { client, dataDir } = daemon;
  const filler = join(dataDir, "filler");
  for (let round = 0; round < 3; round++) {
    mkdirSync(filler);
    let made = 0;
    try {
      for (; ; made++) writeFileSync(join(filler, String(made)), "");
    } catch {
      // Full.
    }
    const ids: number[] = [];
    for (let k = 0; k < 10; k++) ids.push(await submit(client, `r${round}-${k}`));
    await until(async () => !(await readyz(client)).ready, { what: "the daemon to say that it starts nothing" });
    for (const id of ids) expect(await jobOf(client, id)).toMatchObject(unspent);
    rmSync(filler, { recursive: true });
    for (const id of ids) await untilItem(client, id, "done");
    for (const id of ids) expect(await jobOf(client, id)).toMatchObject({ attempts: 1, losses: 0 });
  }
  await daemon.stop();
});

test("a secret and inodes that are missing at once cost nothing, whichever is back first [F-8.4]", async (context) => {
  const folder = tempDir("two-troubles");
  const data = join(folder, "data");
  mkdirSync(data, { mode: 0o700 });
  mountTmpfs(context, data, "size=64m,nr_inodes=400,mode=700");
  unmountAtEnd(data);
  const disk = "disk: { minFreeBytes: 0, ballastBytes: 0, minFreeInodes: 0 }";
  const yaml = pipelines('["true"]', "env: { TOKEN: { file: ./token } }", disk).replace(/ {2}q:\n(?: {4}.*\n)+/, "");
  const daemon = await startTestDaemon({ folder, yaml });
  const { client } = daemon;
  const secret = join(folder, "token");
  const filler = join(data, "filler");
  for (const first of ["secret", "inodes"]) {
    const id = await submit(client, first);
    await until(async () => (await readyz(client)).heldBack.length > 0, { what: "the secret to be missed" });
    writeFileSync(secret, "x\n");
    mkdirSync(filler);
    try {
      for (let made = 0; ; made++) writeFileSync(join(filler, String(made)), "");
    } catch {
      // Full.
    }
    await until(async () => !(await readyz(client)).ready, { what: "inodes to be missed too" });
    rmSync(secret);
    expect(await jobOf(client, id)).toMatchObject(unspent);
    if (first === "secret") writeFileSync(secret, "x\n");
    rmSync(filler, { recursive: true });
    writeFileSync(secret, "x\n");
    await untilItem(client, id, "done");
    expect(await jobOf(client, id)).toMatchObject({ attempts: 1, losses: 0 });
    rmSync(secret);
  }
  await daemon.stop();
});

test("below disk.minFreeInodes nothing is claimed, and doctor says so [F-8.4]", async (context) => {
  const folder = tempDir("min-inodes");
  mkdirSync(join(folder, "data"), { mode: 0o700 });
  mountTmpfs(context, join(folder, "data"), "size=64m,nr_inodes=400,mode=700");
  unmountAtEnd(join(folder, "data"));
  writeFileSync(join(folder, "wakeful.yaml"), pipelines('["true"]', "", "disk: { minFreeBytes: 0, ballastBytes: 0, minFreeInodes: 300 }"));
  startWakeful(bundle.program, ["up"], { cwd: folder });
  const client = await readyDaemon(join(folder, "data"));
  const filler = join(folder, "data", "filler");
  mkdirSync(filler);
  for (let k = 0; k < 150; k++) writeFileSync(join(filler, String(k)), "");
  await until(async () => !(await readyz(client)).ready);
  const id = await submit(client, "a");
  const doctor = startWakeful(bundle.program, ["doctor"], { cwd: folder });
  expect(await doctor.ended).toBe(3);
  expect(doctor.out()).toMatch(/disk\.minFreeInodes/);
  expect(await jobOf(client, id)).toMatchObject({ ...unspent, attempts: 0 });
  expect(await preventedRuns(client, id)).toBe(0);
  rmSync(filler, { recursive: true });
  await untilItem(client, id, "done");
});

test("a share that was unmounted with the program on it costs nothing, and work goes on when it is back [F-8.4]", async (context) => {
  const folder = tempDir("share");
  const share = join(folder, "share");
  mkdirSync(share);
  const mount = (): void => {
    mountTmpfs(context, share, "size=1m");
    writeFileSync(join(share, "tool"), "#!/bin/sh\nexit 0\n");
    chmodSync(join(share, "tool"), 0o755);
  };
  mount();
  unmountAtEnd(share);
  const { client } = await startTestDaemon({ folder, yaml: pipelines("[./tool]", "cwd: ./share") });
  unmount(share);
  const id = await submit(client, "a");
  await until(async () => (await preventedRuns(client, id)) > 0);
  expect(await jobOf(client, id)).toMatchObject(unspent);
  expect((await readyz(client)).heldBack).toMatchObject([{ why: expect.stringMatching(/Mount the share again/) }]);
  mount();
  await untilItem(client, id, "done");
  expect(await jobOf(client, id)).toMatchObject({ attempts: 1, losses: 0 });
});

/** A whole daemon as another user: root is refused nothing. */
async function anothersDaemon(context: TestContext, yaml: string) {
  needOpenCheckout(context);
  if (process.getuid?.() !== 0) skipTest(context, "only root may start a daemon as another user");
  // An account of its own: processes are counted by user.
  const uid = nobody - 3000 - (process.pid % 1000);
  const folder = mkdtempSync(join(tmpdir(), "prevented-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, "wakeful.yaml"), yaml);
  execFileSync("chown", ["-R", `${uid}:${uid}`, folder]);
  chmodSync(join(bundle.program, ".."), 0o755);
  const daemon = startWakeful(bundle.program, ["up"], { cwd: folder, uid });
  const client = await readyDaemon(join(folder, "data"));
  return { daemon, client, uid };
}

/** Sets the soft limit of a process's user; undefined: as high as its hard one. */
function limitProcesses({ pid, uid }: { readonly pid: number; readonly uid: number }, count: number | undefined): void {
  const hard = /^Max processes +\S+ +(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, "utf8"))?.[1] ?? "unlimited";
  execFileSync("prlimit", ["--pid", String(pid), `--nproc=${count ?? hard}:`], { uid, gid: uid });
}

test("without room for another process nothing is spent, and work begins when there is [F-8.4]", async (context) => {
  const { daemon, client, uid } = await anothersDaemon(context, pipelines('["true"]'));
  const threads = readdirSync(`/proc/${daemon.pid}/task`).length;
  // A wrapper starts, or not even that; then its command and its tools.
  for (const room of [0, 1, 2]) {
    limitProcesses({ pid: daemon.pid, uid }, threads + room);
    const ids: number[] = [];
    for (let k = 0; k < 5; k++) ids.push(await submit(client, `n${room}-${k}`));
    await until(async () => !(await readyz(client)).ready, { what: `trouble with room for ${room}` });
    for (const id of ids) expect(await jobOf(client, id)).toMatchObject({ losses: 0 });
    limitProcesses({ pid: daemon.pid, uid }, undefined);
    for (const id of ids) await untilItem(client, id, "done");
    for (const id of ids) expect(await jobOf(client, id)).toMatchObject({ attempts: 1, losses: 0 });
  }
});

test("a gate whose secret is missing spends no patience, and is green when the secret is back [F-8.4]", async () => {
  const folder = tempDir("gate-secret");
  writeFileSync(join(folder, "token"), "s3cret\n");
  // The command itself takes the secret away, so that only its gate misses it.
  const gate = "gate: { command: [sh, -c, 'test $TOKEN = s3cret'], timeout: 1s, patience: 1s }";
  const yaml = pipelines('[rm, "../token"]', `env: { TOKEN: { file: ./token } }, cwd: ./data, ${gate}, attempts: 1`).replace(
    "attempts: 3, ",
    "",
  );
  const { client, log } = await startTestDaemon({ folder, yaml });
  const id = await submit(client, "a");
  const readings = () => log.filter((line) => line.includes("run.deferred")).length;
  await until(() => readings() >= 3, { what: "three readings, past the patience" });
  writeFileSync(join(folder, "token"), "s3cret\n");
  await untilItem(client, id, "done");
  expect(await jobOf(client, id)).toMatchObject({ attempts: 1, losses: 0 });
});

test("a daemon that is killed while starts are prevented spends nothing either, and its successor goes on [F-8.4]", async () => {
  const folder = tempDir("killed");
  writeFileSync(join(folder, "wakeful.yaml"), pipelines('["true"]', "env: { TOKEN: { file: ./token } }"));
  const first = startWakeful(bundle.program, ["up"], { cwd: folder });
  const before = await readyDaemon(join(folder, "data"));
  const id = await submit(before, "a");
  await until(async () => (await readyz(before)).heldBack.length > 0);
  for (let round = 0; round < 4; round++) {
    const [last] = round === 0 ? [first] : [startWakeful(bundle.program, ["up"], { cwd: folder })];
    const client = await readyDaemon(join(folder, "data"));
    await until(async () => (await readyz(client)).heldBack.length > 0);
    last.child.kill("SIGKILL");
    await last.ended;
  }
  writeFileSync(join(folder, "token"), "x\n");
  startWakeful(bundle.program, ["up"], { cwd: folder });
  const client = await readyDaemon(join(folder, "data"));
  await untilItem(client, id, "done");
  expect(await jobOf(client, id)).toMatchObject({ attempts: 1, losses: 0 });
});
