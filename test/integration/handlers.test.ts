import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import { startTestDaemon, submit, untilItem } from "../support/daemon.ts";
import { bundleHandlerHost } from "../support/handler-host.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";
import { writtenPid } from "../support/written-pid.ts";

const yaml = `
dataDir: ./data
worker: { handlers: ./handlers.mjs }
pipelines:
  p:
    stages:
      work:
        run: { handler: work }
        retry: { min: 0s, max: 0s }
        maxLosses: 5
        next: after
      after:
        run: { command: [sh, -c, 'cat > "$WAKEFUL_WORK_DIR/input.json"'] }
        stdin: input
        timeout: 1h
`;

const handlers = `
import { existsSync, writeFileSync } from "node:fs";
export async function work(job, context) {
  writeFileSync("started-" + job.attempt, String(process.pid));
  context.heartbeat();
  while (existsSync("wait")) await new Promise((resolve) => setTimeout(resolve, 20));
  return { pages: 3, attempt: job.attempt };
}
`;

let program: string;
let remove: () => void;
beforeAll(async () => {
  ({ program, remove } = await bundleHandlerHost());
});
afterAll(() => remove());

async function folderWith(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = tempDir("handlers");
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  return folder;
}

test("a handler's output is the next stage's input", async () => {
  const folder = await folderWith({ "handlers.mjs": handlers });
  const { client, dataDir } = await startTestDaemon({ yaml, folder, handlerHost: program });
  const { item } = await untilItem(client, await submit(client, "one"), "done");
  const input = JSON.parse(await readFile(join(dataDir, "work", item.dir, "input.json"), "utf8"));
  expect(input.previous).toEqual({ pages: 3, attempt: 1 });
});

test("what a handler throws is told with its own words, and its stack stands in the run's log", async () => {
  const broken = "export async function work(job, context) { context.log(job.stage); }\n";
  const folder = await folderWith({ "handlers.mjs": broken });
  const { client, dataDir } = await startTestDaemon({ yaml, folder, handlerHost: program });
  const { runs } = await untilItem(client, await submit(client, "broken"), "failed");
  const newest = Math.max(...runs.map(({ id }) => id));
  const story = await client.call(api.why, { query: { run: newest } });
  expect(story.text).toContain("failed (handler_error). context.log is not a function.");
  await until(async () =>
    (await readFile(join(dataDir, "runs", String(newest), "stdout.log"), "utf8").catch(() => "")).includes("handlers.mjs:1:"),
  );
});

test("the handler host is killed in the middle: its runs go again within seconds, and spend no attempt", async () => {
  const folder = await folderWith({ "handlers.mjs": handlers, wait: "" });
  const { client } = await startTestDaemon({ yaml, folder, handlerHost: program });
  const id = await submit(client, "killed");
  const pid = await writtenPid(join(folder, "started-1"));
  await until(async () => (await client.call(api.listRuns, { query: { limit: 10 } })).runs.some((run) => run.state === "started"), {
    what: "the start to be written",
  });
  process.kill(pid, "SIGKILL");
  await writtenPid(join(folder, "started-2"));
  await rm(join(folder, "wait"));
  const { visits } = await untilItem(client, id, "done");
  expect(visits.find((visit) => visit.stage === "work")).toMatchObject({ attempts: 1, losses: 1 });
});

test("a module that throws at import is told once and takes nothing down", async () => {
  const folder = await folderWith({ "handlers.mjs": 'throw new Error("no database configured");' });
  const { client, log } = await startTestDaemon({ yaml, folder, handlerHost: program });
  await until(() => log.some((line) => line.includes("no database configured")), { what: "the alert" });
  const id = await submit(client, "waits");
  expect((await client.call(api.getItem, { params: { id } })).item.state).toBe("active");
  expect((await client.call(api.readyz, {})).ready).toBe(true);
});
