import { readFileSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import { startTestDaemon, submit, untilItem } from "../support/daemon.ts";
import { bundleHandlerHost } from "../support/handler-host.ts";
import { readyDaemon } from "../support/ready-daemon.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";
import { bundleWakeful, startWakeful } from "../support/wakeful-program.ts";
import { writtenPid } from "../support/written-pid.ts";

// A host that says nothing for 2 s is hung. Of a worker on a busy machine that is far more than it needs to renew.
const yaml = `
dataDir: ./data
worker:
  handlers: ./handlers.mjs
  renewMs: 100ms
  renewTimeoutMs: 300ms
  selfFenceAfterMs: 300ms
  deadAfterMs: 2s
stop: { stopGraceMs: 100, killGraceMs: 100 }
pipelines:
  p:
    stages:
      work: { run: { handler: work }, retry: { min: 0s, max: 0s }, attempts: 3, maxLosses: 5 }
`;

const handlers = `
import { appendFileSync, existsSync, writeFileSync } from "node:fs";
export async function work(job) {
  writeFileSync("started-" + job.itemKey + "-" + job.attempt, String(process.pid));
  if (job.itemKey === "busy") { const end = Date.now() + 6000; while (Date.now() < end); return "busy to the end"; }
  while (existsSync("wait")) {
    appendFileSync("beats-" + job.itemKey, ".");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return job.attempt;
}
`;

let host: Awaited<ReturnType<typeof bundleHandlerHost>>;
let wakeful: Awaited<ReturnType<typeof bundleWakeful>>;
beforeAll(async () => {
  [host, wakeful] = await Promise.all([bundleHandlerHost(), bundleWakeful()]);
});
afterAll(() => {
  host.remove();
  wakeful.remove();
});

async function folderThat(waits: "waits" | "goes on"): Promise<string> {
  const folder = tempDir("hung-host");
  await writeFile(join(folder, "handlers.mjs"), handlers);
  if (waits === "waits") await writeFile(join(folder, "wait"), "");
  return folder;
}

const letGo = async (folder: string): Promise<void> => await rm(join(folder, "wait"));
const alertsIn = (folder: string): string => readFileSync(join(folder, "data", "alerts.jsonl"), "utf8");

test("a handler host that stands still is killed by its parent, told with the remedy, and its work goes on in another [F-9.1]", async () => {
  const folder = await folderThat("waits");
  const { client, log } = await startTestDaemon({ yaml, folder, handlerHost: host.program });
  const id = await submit(client, "alone");
  const pid = await writtenPid(join(folder, "started-alone-1"));
  await until(async () => (await client.call(api.getItem, { params: { id } })).runs[0]?.state === "started", { what: "its start" });
  process.kill(pid, "SIGSTOP");
  expect(await writtenPid(join(folder, "started-alone-2"))).not.toBe(pid);
  await until(() => alertsIn(folder).includes("worker_hung"), { what: "the alert" });
  expect(alertsIn(folder)).toContain(`The handler host (pid ${pid}) said nothing for`);
  expect(log.filter((line) => line.includes("worker.hung"))).toHaveLength(1);
  await letGo(folder);
  const { runs, visits } = await untilItem(client, id, "done");
  expect(visits[0], "alone in its process, the run is lost").toMatchObject({ attempts: 1, losses: 1 });
  expect(runs.find(({ attempt }) => attempt === 1)).toMatchObject({ outcome: "lost", reason: "host_hung" });
  const { text } = await client.call(api.why, { query: { item: id } });
  expect(text).toContain(`Its process (pid ${pid}) said nothing for`);
});

test("of several runs in a host that stands still none spends anything [F-9.1]", async () => {
  const folder = await folderThat("waits");
  const { client } = await startTestDaemon({ yaml, folder, handlerHost: host.program });
  const ids = await Promise.all(["a", "b"].map((key) => submit(client, key)));
  const pid = await writtenPid(join(folder, "started-a-1"));
  await writtenPid(join(folder, "started-b-1"));
  for (const id of ids)
    await until(async () => (await client.call(api.getItem, { params: { id } })).runs[0]?.state === "started", { what: "its start" });
  process.kill(pid, "SIGSTOP");
  for (const key of ["a", "b"]) await writtenPid(join(folder, `started-${key}-2`));
  await letGo(folder);
  for (const id of ids) expect((await untilItem(client, id, "done")).visits[0]).toMatchObject({ attempts: 1, losses: 0 });
});

test("a handler that blocks its host for three times the limit is busy, not hung [F-9.1]", async () => {
  const folder = await folderThat("goes on");
  const { client, log } = await startTestDaemon({ yaml, folder, handlerHost: host.program });
  const { runs } = await untilItem(client, await submit(client, "busy"), "done");
  expect(runs).toMatchObject([{ attempt: 1, outcome: "succeeded" }]);
  expect(log.filter((line) => line.includes("worker.hung"))).toEqual([]);
});

test("a daemon that was stopped and continued takes its own deafness for no silence of its host [F-9.1]", async () => {
  const folder = await folderThat("waits");
  await writeFile(join(folder, "wakeful.yaml"), `http: { listen: 127.0.0.1:0 }\n${yaml}`);
  const up = startWakeful(wakeful.program, ["up"], { cwd: folder });
  const client = await readyDaemon(join(folder, "data"));
  const id = await submit(client, "alone");
  await writtenPid(join(folder, "started-alone-1"));
  process.kill(up.pid, "SIGSTOP");
  onTestFinished(() => void process.kill(up.pid, "SIGCONT"));
  const beats = async () => (await readFile(join(folder, "beats-alone"), "utf8")).length;
  const before = await beats();
  await until(async () => (await beats()) >= before + 80, { what: "twice the limit to pass in the host, which works on" });
  process.kill(up.pid, "SIGCONT");
  const after = await beats();
  await until(async () => (await beats()) >= after + 60, { what: "a limit more" });
  await letGo(folder);
  const { runs } = await untilItem(client, id, "done");
  expect(runs).toMatchObject([{ attempt: 1, outcome: "succeeded" }]);
  expect(up.out() + up.err()).not.toContain("worker.hung");
});

test("a daemon that dies when it has just killed its hung host leaves the rest to the next one [F-9.1]", async () => {
  const folder = await folderThat("waits");
  await writeFile(join(folder, "wakeful.yaml"), `http: { listen: 127.0.0.1:0 }\n${yaml}`);
  const first = startWakeful(wakeful.program, ["up"], { cwd: folder });
  const before = await readyDaemon(join(folder, "data"));
  const id = await submit(before, "alone");
  const pid = await writtenPid(join(folder, "started-alone-1"));
  await until(async () => (await before.call(api.getItem, { params: { id } })).runs[0]?.state === "started", { what: "its start" });
  process.kill(pid, "SIGSTOP");
  await until(() => (first.out() + first.err()).includes("worker.hung"), { what: "the verdict", everyMs: 1 });
  process.kill(first.pid, "SIGKILL");
  await first.ended;
  await letGo(folder);
  startWakeful(wakeful.program, ["up"], { cwd: folder });
  const client = await readyDaemon(join(folder, "data"));
  const { runs } = await untilItem(client, id, "done");
  expect(runs.filter(({ outcome }) => outcome === "succeeded")).toHaveLength(1);
  expect(runs).toHaveLength(2);
});
