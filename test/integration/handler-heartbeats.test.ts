import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { definePipeline, handler } from "../../src/pipelines/reading/typescript.ts";
import { PipelineRegistry } from "../../src/pipelines/registry.ts";
import { api } from "../../src/protocol/api/index.ts";
import type { ItemRow } from "../../src/store/port/items.ts";
import { startTestDaemon, submit, untilItem } from "../support/daemon.ts";
import { bundleHandlerHost, type HostBench, hostBench } from "../support/handler-host.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

let program = "";
let remove = (): void => undefined;
beforeAll(async () => {
  ({ program, remove } = await bundleHandlerHost());
});
afterAll(() => remove());

const definition = definePipeline("p", {
  stages: { nom: { run: handler("nom"), heartbeat: { timeout: "60s" }, retry: { min: "0s", max: "0s" } } },
}).definition;

/** A host whose stage `nom` runs this body, and one item, whose work directory holds an earlier run's heartbeat file. */
async function hostOf(body: string): Promise<{ bench: HostBench; item: ItemRow; workDir: string }> {
  const bench = await hostBench(program, [definition]);
  const workDir = join(bench.dataDir, "work", "book");
  mkdirSync(workDir, { recursive: true });
  writeFileSync(join(workDir, "nom.heartbeat"), "an earlier run's");
  bench.module(`
    import { execFileSync } from "node:child_process"; import { existsSync, readFileSync, writeFileSync } from "node:fs"; import { join } from "node:path";
    const pause = () => new Promise((resolve) => setTimeout(resolve, 20));
    export const nom = async (job, context) => { const file = join(job.workDir, "nom.heartbeat"); const over = () => existsSync(join(job.workDir, "over")); ${body} };`);
  const first = new PipelineRegistry([definition]).entry("p", "nom");
  if (first === undefined) throw new Error("no stage nom");
  const host = bench.process();
  await host.start();
  const { item } = await bench.store.items.add({ pipeline: "p", key: "book", dir: "book", input: "null", first, actor: "test" });
  return { bench, item, workDir };
}

const runOf = async ({ store }: HostBench, item: ItemRow) => {
  const [job] = await store.items.jobs(item.id);
  return job === undefined ? undefined : (await store.runs.ofJob(job.id)).at(-1);
};

/** Waits until the store has recorded progress so many times. */
async function untilHeard(bench: HostBench, item: ItemRow, times: number): Promise<void> {
  const heard = new Set<number>();
  await until(
    async () => {
      const at = (await runOf(bench, item))?.progressAt;
      if (at !== null && at !== undefined) heard.add(at);
      return heard.size >= times;
    },
    { what: `progress at ${times} instants`, timeoutMs: 20_000 },
  );
}

const untilDone = async (bench: HostBench, item: ItemRow, workDir: string): Promise<void> => {
  writeFileSync(join(workDir, "over"), "");
  await until(async () => (await bench.store.items.get(item.id))?.state === "done", { what: "the item to be done" });
};

test("a handler's run begins with a heartbeat file of its own: the earlier run's is gone, and the first line is a time and the word start [A-1, A-22, A-G1]", async () => {
  const { bench, item, workDir } = await hostOf("while (!over()) await pause();");
  const text = await until(
    () => {
      const found = readFileSync(join(workDir, "nom.heartbeat"), "utf8");
      return found.startsWith("an earlier") || found === "" ? undefined : found;
    },
    { what: "the first line" },
  );
  expect(text).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z start\n$/);
  await untilDone(bench, item, workDir);
});

test("a handler that rewrites nom.heartbeat in its item's directory is heard, without any call [A-1, A-13]", async () => {
  const { bench, item, workDir } = await hostOf("while (!over()) { writeFileSync(file, String(Math.random())); await pause(); }");
  await untilHeard(bench, item, 3);
  await untilDone(bench, item, workDir);
});

test("the run's own heartbeat file is heard too, also while a subprocess that touches it blocks the handler's thread [A-G3]", async () => {
  const { bench, item, workDir } = await hostOf(
    `execFileSync("sh", ["-c", 'while [ ! -e over ]; do echo beat > "$1"; sleep 0.02; done', "sh", job.heartbeatFile], { cwd: job.workDir });`,
  );
  await untilHeard(bench, item, 3);
  const run = await runOf(bench, item);
  expect(existsSync(join(bench.dataDir, "runs", String(run?.id), "heartbeat"))).toBe(true);
  await untilDone(bench, item, workDir);
});

test("a stage whose heartbeats are those of its file alone outlives its timeout many times, and is hung once it stops [A-1, A-9]", async () => {
  const folder = tempDir("nom");
  writeFileSync(
    join(folder, "handlers.mjs"),
    `import { existsSync, writeFileSync } from "node:fs"; import { join } from "node:path";
     export async function nom(job, { signal }) {
       const began = Date.now();
       while (!existsSync("stop") && !signal.aborted) { writeFileSync(join(job.workDir, "nom.heartbeat"), String(Math.random())); writeFileSync("age", String(Date.now() - began)); await new Promise((resolve) => setTimeout(resolve, 50)); }
       while (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, 20));
       throw new Error("aborted");
     }`,
  );
  const yaml = `
dataDir: ./data
worker: { handlers: ./handlers.mjs, renewMs: 500 }
pipelines:
  p: { stages: { nom: { run: { handler: nom }, heartbeat: { timeout: 2s }, attempts: 1 } } }
`;
  const { client } = await startTestDaemon({ yaml, folder, handlerHost: program, flags: { dev: true } });
  const id = await submit(client, "book");
  const age = (): number => (existsSync(join(folder, "age")) ? Number(readFileSync(join(folder, "age"), "utf8")) : 0);
  await until(() => age() > 6000, { what: "three timeouts" });
  const { item, runs } = await client.call(api.getItem, { params: { id } });
  expect([item.state, runs.map(({ state }) => state)]).toEqual(["active", ["started"]]);
  writeFileSync(join(folder, "stop"), "");
  const failed = await untilItem(client, id, "failed");
  expect(failed.runs).toMatchObject([{ outcome: "hung", attempt: 1 }]);
});
