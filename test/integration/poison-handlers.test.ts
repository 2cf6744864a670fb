import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import type { Client } from "../../src/protocol/client.ts";
import { startTestDaemon, submit, untilItem } from "../support/daemon.ts";
import { bundleHandlerHost } from "../support/handler-host.ts";
import { readyDaemon } from "../support/ready-daemon.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";
import { bundleWakeful, startWakeful } from "../support/wakeful-program.ts";

const yaml = (budget = "attempts: 3", concurrency = 5): string => `
dataDir: ./data
worker: { handlers: ./handlers.mjs, concurrency: ${concurrency} }
stop: { stopGraceMs: 500, killGraceMs: 500 }
pipelines:
  p:
    stages:
      work: { run: { handler: work }, retry: { min: 0s, max: 0s }, ${budget} }
`;

const handlers = `
import { appendFileSync, existsSync } from "node:fs";
export async function work(job, context) {
  appendFileSync("runs-" + job.itemKey, process.pid + "\\n");
  if (job.itemKey === "poison") { while (!existsSync("others-run")) await new Promise((resolve) => setTimeout(resolve, 20)); process.exit(1); }
  if (job.itemKey === "long") while (!existsSync("go")) { await new Promise((resolve) => setTimeout(resolve, 20)); if (context.signal.aborted) throw new Error("asked to stop"); }
  if (job.itemKey.startsWith("slow")) await new Promise((resolve) => setTimeout(resolve, 1500));
  return process.pid;
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

async function folderWithHandlers(): Promise<string> {
  const folder = tempDir("poison-handlers");
  await writeFile(join(folder, "handlers.mjs"), handlers);
  return folder;
}

const itemOf = async (client: Client, id: number) => await client.call(api.getItem, { params: { id } });
const untilStarted = async (client: Client, ids: readonly number[]): Promise<void> => {
  for (const id of ids) {
    await until(async () => (await itemOf(client, id)).runs.some(({ state }) => state === "started"), { what: `the start of item ${id}` });
  }
};

test("a handler that kills its host fails alone: who shared the host spends nothing, and works on [F-8.7]", async () => {
  const folder = await folderWithHandlers();
  const { client, log } = await startTestDaemon({ yaml: yaml(), folder, handlerHost: host.program });
  const slow = await Promise.all(["slow-1", "slow-2", "slow-3", "slow-4"].map((key) => submit(client, key)));
  const poison = await submit(client, "poison");
  await untilStarted(client, [...slow, poison]);
  await writeFile(join(folder, "others-run"), "");
  for (const id of slow) {
    const { item, visits } = await untilItem(client, id, "done");
    const pids = (await readFile(join(folder, `runs-${item.key}`), "utf8")).trim().split("\n");
    expect(pids.length, "its host died under it once").toBeLessThanOrEqual(2);
    expect(visits[0], "nothing of its budget").toMatchObject({ attempts: 1, losses: 0 });
  }
  const { runs, visits } = await untilItem(client, poison, "failed");
  expect(visits[0]).toMatchObject({ attempts: 3 });
  const reasons = runs.map(({ reason }) => reason);
  expect(reasons.filter((reason) => reason === "host_died")).toHaveLength(3);
  // Once with the others, and whenever all places for trials were taken.
  expect(reasons.filter((reason) => reason !== "host_died").every((reason) => reason === "host_suspect")).toBe(true);
  expect(log.filter((line) => line.includes("defect.found"))).toEqual([]);
  const { text } = await client.call(api.why, { query: { item: poison } });
  expect(text).toContain("alone in its process");
});

test("with a budget of losses the poison is held, and others are taken meanwhile, however long its trial takes [F-8.7]", async () => {
  const folder = await folderWithHandlers();
  const { client } = await startTestDaemon({ yaml: yaml("attempts: 3, maxLosses: 2", 2), folder, handlerHost: host.program });
  const long = await submit(client, "long");
  const poison = await submit(client, "poison");
  await untilStarted(client, [long, poison]);
  await writeFile(join(folder, "others-run"), "");
  await until(async () => (await client.call(api.listJobs, { query: { state: "held", limit: 5 } })).jobs.length === 1, {
    what: "the hold",
  });
  await untilItem(client, await submit(client, "quick"), "done");
  expect(
    (await itemOf(client, long)).runs.filter(({ state }) => state === "started"),
    "its trial goes on beside them",
  ).toHaveLength(1);
  await writeFile(join(folder, "go"), "");
  expect((await untilItem(client, long, "done")).visits[0]).toMatchObject({ attempts: 1, losses: 0 });
  expect((await itemOf(client, poison)).visits[0]).toMatchObject({ losses: 2 });
});

test("a daemon that is killed while suspects are tried knows them still, and loses none [F-8.7]", async () => {
  const folder = await folderWithHandlers();
  await writeFile(join(folder, "wakeful.yaml"), `http: { listen: 127.0.0.1:0 }\n${yaml("attempts: 3, maxLosses: 4", 2)}`);
  const first = startWakeful(wakeful.program, ["up"], { cwd: folder });
  const before = await readyDaemon(join(folder, "data"));
  const [long, poison] = [await submit(before, "long"), await submit(before, "poison")];
  await untilStarted(before, [long, poison]);
  await writeFile(join(folder, "others-run"), "");
  await until(async () => (await itemOf(before, long)).runs.some(({ attempt, state }) => attempt === 2 && state === "started"), {
    what: "its trial",
  });
  process.kill(first.pid, "SIGKILL");
  await first.ended;
  startWakeful(wakeful.program, ["up"], { cwd: folder });
  const client = await readyDaemon(join(folder, "data"));
  await writeFile(join(folder, "go"), "");
  await untilItem(client, long, "done");
  await until(async () => (await client.call(api.listJobs, { query: { state: "held", limit: 5 } })).jobs.length === 1, {
    what: "the hold",
  });
  expect((await itemOf(client, poison)).visits[0]).toMatchObject({ losses: 4 });
});

test("a host of one run alone that dies is that run's loss, as it always was [F-8.7]", async () => {
  const folder = await folderWithHandlers();
  await writeFile(join(folder, "others-run"), "");
  const { client } = await startTestDaemon({ yaml: yaml("attempts: 2"), folder, handlerHost: host.program });
  const { runs, visits } = await untilItem(client, await submit(client, "poison"), "failed");
  expect(visits[0]).toMatchObject({ attempts: 2 });
  expect(runs.map(({ outcome, reason }) => [outcome, reason])).toEqual([
    ["lost", "host_died"],
    ["lost", "host_died"],
  ]);
});
