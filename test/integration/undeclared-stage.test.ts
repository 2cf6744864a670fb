import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { expect, onTestFinished, test } from "vitest";
import { alertsFile } from "../../src/notify/alerts.ts";
import { api } from "../../src/protocol/api/index.ts";
import { startTestDaemon, submit, type TestDaemon, untilItem } from "../support/daemon.ts";
import { createDatabase } from "../support/postgres.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

const wait = 'while [ ! -e "$WAKEFUL_WORK_DIR/go" ]; do sleep 0.02; done; echo ran >> "$WAKEFUL_WORK_DIR/ran"';

/** Pipeline `p` of these stages, each of which runs `script`, the first one with a gate. */
const pipelineOf = (stages: readonly string[], script = wait): string => `
dataDir: ./data
worker: { concurrency: 2 }
pipelines:
  p:
    stages:
${stages
  .map(
    (stage, index) => `      ${stage}:
        run: { command: [sh, -c, ${JSON.stringify(stage === "publish" ? "true" : script)}] }
        timeout: 1h
        ${stage === "work" ? "gate: { file: ran }" : ""}
        ${stages[index + 1] === undefined ? "" : `next: ${stages[index + 1]}`}
`,
  )
  .join("")}`;

const letGo = (daemon: TestDaemon, key: string): Promise<void> => writeFile(join(daemon.dataDir, "work", key, "go"), "");

async function untilJob(daemon: TestDaemon, itemId: number, state: string) {
  return await until(
    async () => {
      const { jobs } = await daemon.client.call(api.getItem, { params: { id: itemId } });
      return jobs.find((job) => job.state === state);
    },
    { what: `a job of item ${itemId} to be ${state}` },
  );
}

async function alertLines(daemon: TestDaemon): Promise<readonly { readonly cause: string; readonly title: string }[]> {
  const text = await readFile(alertsFile(daemon.dataDir), "utf8").catch(() => "");
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as { cause: string; title: string });
}

const processOf = async (daemon: TestDaemon, itemId: number) => {
  const { runs } = await daemon.client.call(api.getItem, { params: { id: itemId } });
  return runs.at(-1);
};

test("a stage is taken out while its command lives: the command is adopted and runs to its end, what waits is held, and back again it all ends well", async () => {
  const folder = tempDir("undeclared");
  const before = await startTestDaemon({ yaml: pipelineOf(["work", "publish"]), folder, flags: { "worker.concurrency": 1 } });
  const running = await submit(before.client, "running");
  await untilJob(before, running, "running");
  const waiting = await submit(before.client, "waiting");
  const started = await until(async () => {
    const run = await processOf(before, running);
    if (run?.state !== "started" || run.process === null) return undefined;
    // The file holds the wrapper's identity until the command has written its own.
    const wrapper = await readFile(join(before.dataDir, "runs", String(run.id), "started"), "latin1");
    return Number(wrapper.split(" ")[1]) === run.process.pid ? undefined : run;
  });
  await before.stop("leave");

  const without = await startTestDaemon({ yaml: pipelineOf(["publish"]), folder });
  expect(without.daemon.adoption).toMatchObject({ adopted: 1, requeued: 0 });
  expect(await processOf(without, running)).toMatchObject({ id: started.id, state: "started", process: { pid: started.process?.pid } });
  const held = await untilJob(without, waiting, "held");
  expect(held.error).toContain("stage work of pipeline p is not declared any more");
  const alert = await until(async () => (await alertLines(without)).find(({ cause }) => cause.startsWith(`job.held:${held.id}:`)));
  expect(alert.title).toContain("stage work of pipeline p is not declared any more");
  for (const query of [{ job: held.id }, { item: waiting }]) {
    const story = await without.client.call(api.why, { query });
    expect(story.headline).toContain("stage work of pipeline p is not declared any more");
    expect(story.text).toContain(`Once stage work of pipeline p is declared again, \`wakeful unhold job:${held.id}\` runs it`);
  }
  const ofTheRunning = await without.client.call(api.why, { query: { item: running } });
  expect(ofTheRunning.text).toContain("it runs to its end under the version that it began with");
  // The gate of its own version is green, and that version's next stage is still declared.
  await letGo(without, "running");
  const ended = await untilItem(without.client, running, "done");
  expect(ended.runs.map(({ attempt, outcome }) => ({ attempt, outcome }))).toEqual([
    { attempt: 1, outcome: "succeeded" },
    { attempt: 1, outcome: "succeeded" },
  ]);
  expect(await readFile(join(without.dataDir, "work", "running", "ran"), "utf8")).toBe("ran\n");
  expect((await alertLines(without)).map(({ cause }) => cause)).toEqual([alert.cause]);
  await without.stop("leave");

  const again = await startTestDaemon({ yaml: pipelineOf(["work", "publish"]), folder });
  await again.client.call(api.unholdJob, { params: { id: held.id }, body: {} });
  await letGo(again, "waiting");
  await untilItem(again.client, waiting, "done");
  await again.stop();
});

test("a stage and the one after it are taken out: the adopted command ends well and its item is held; declared again and unheld, it is done", async () => {
  const folder = tempDir("undeclared-next");
  const before = await startTestDaemon({ yaml: pipelineOf(["work", "publish"]), folder });
  const id = await submit(before.client, "book");
  await until(async () => (await processOf(before, id))?.state === "started");
  await before.stop("leave");

  const without = await startTestDaemon({ yaml: pipelineOf(["other"], "true"), folder });
  expect(without.daemon.adoption).toMatchObject({ adopted: 1 });
  await letGo(without, "book");
  const held = await untilJob(without, id, "held");
  expect(held.error).toContain("stage publish of pipeline p, which follows work, is not declared any more");
  expect(await processOf(without, id)).toMatchObject({ exitCode: 0, reason: "stage_vanished" });
  await until(async () => (await alertLines(without)).some(({ cause }) => cause.startsWith(`job.held:${held.id}:`)));
  expect((await without.client.call(api.getItem, { params: { id } })).item.state).toBe("active");
  await without.stop("leave");

  const again = await startTestDaemon({ yaml: pipelineOf(["work", "publish"]), folder });
  await again.client.call(api.unholdJob, { params: { id: held.id }, body: {} });
  await untilItem(again.client, id, "done");
  await again.stop();
});

test("two daemons with different pipelines share a store: neither holds what the other declares, also while that one is down", async () => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const flags = { store: database.url };
  const one = tempDir("undeclared-one");
  const first = await startTestDaemon({ yaml: pipelineOf(["work", "publish"]), folder: one, flags });
  const another = await startTestDaemon({ yaml: pipelineOf(["mail"], "true").replace("  p:", "  q:"), flags });
  const lookNow = async (daemon: TestDaemon) =>
    await daemon.client.call(api.runLoop, { params: { name: "reconciler" }, query: {}, body: {} });
  await first.client.call(api.pause, { body: { target: { kind: "pipeline", name: "p" } } });
  const id = await submit(first.client, "book");
  await lookNow(another);
  await first.stop();
  await lookNow(another);
  const { jobs } = await another.client.call(api.getItem, { params: { id } });
  expect(jobs).toMatchObject([{ state: "queued" }]);
  // Back without the stage: its newest version says so, to everybody.
  const changed = await startTestDaemon({ yaml: pipelineOf(["publish"]), folder: one, flags });
  await lookNow(another);
  await untilJob(another, id, "held");
  await changed.stop();
  await another.stop();
});

test("a living command is adopted also when no version of its stage can be read any more; what it ends with is held, never lost", async () => {
  const folder = tempDir("undeclared-unreadable");
  const before = await startTestDaemon({ yaml: pipelineOf(["work", "publish"]), folder });
  const id = await submit(before.client, "book");
  await until(async () => (await processOf(before, id))?.state === "started");
  await before.stop("leave");
  const database = new DatabaseSync(join(before.dataDir, "wakeful.db"));
  database.exec("update pipeline_versions set definition = 'of another release'");
  database.close();

  const without = await startTestDaemon({ yaml: pipelineOf(["publish"]), folder });
  expect(without.daemon.adoption).toMatchObject({ adopted: 1, requeued: 0 });
  await letGo(without, "book");
  const held = await untilJob(without, id, "held");
  expect(held.error).toContain("stage work of pipeline p is not declared any more, and no version on record says what follows it");
  expect(await processOf(without, id)).toMatchObject({ exitCode: 0, reason: "stage_vanished" });
  expect(without.log.filter((line) => line.includes("loop.failed") || line.includes("subject_failed"))).toEqual([]);
  await without.stop();
});
