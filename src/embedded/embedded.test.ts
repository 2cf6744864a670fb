import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { tempDir } from "../../test/support/temp-dir.ts";
import { until } from "../../test/support/until.ts";
import { PermanentError, type TaskJob } from "../worker/handlers/handler-context.ts";
import { type EmbeddedLogLine, startEmbedded } from "./embedded.ts";

const quiet = (): void => undefined;

test("jobs run to their end, and whoever waits is told", async () => {
  const queue = await startEmbedded({
    store: ":memory:",
    log: quiet,
    tasks: {
      add: (job: TaskJob<{ a: number; b: number }>) => ({ sum: job.payload.a + job.payload.b }),
      never: () => {
        throw new PermanentError("no such address");
      },
      nothing: async () => undefined,
    },
  });
  onTestFinished(async () => {
    await queue.stop();
  });
  const added = await queue.waitFor(await queue.enqueue("add", { a: 1, b: 2 }));
  expect(added).toMatchObject({ state: "done", output: '{"sum":3}', attempts: 1 });
  expect(await queue.waitFor(added.id)).toEqual(added);
  const failed = await queue.waitFor(await queue.enqueue("never", null));
  expect(failed).toMatchObject({ state: "failed", attempts: 1 });
  expect(failed.error).toContain("no such address");
  const ids = await queue.enqueueMany(
    "nothing",
    Array.from({ length: 2500 }, (_, i) => i),
  );
  expect(new Set(ids).size).toBe(2500);
  for (const job of await Promise.all(ids.map((id) => queue.waitFor(id)))) expect(job.state).toBe("done");
});

test("an enqueue id makes one job, however often it is sent", async () => {
  const queue = await startEmbedded({ store: ":memory:", log: quiet, tasks: { one: () => undefined } });
  onTestFinished(async () => {
    await queue.stop();
  });
  const first = await queue.enqueue("one", 1, { enqueueId: "order-7" });
  expect(await queue.enqueue("one", 2, { enqueueId: "order-7" })).toBe(first);
});

test("what no store should see is refused with a reason", async () => {
  const start = (options: object) => startEmbedded({ store: ":memory:", log: quiet, tasks: {}, ...options });
  await expect(start({ concurrency: 0 })).rejects.toMatchObject({ code: "bad_request" });
  await expect(start({ concurrency: 20, outstandingMax: 10 })).rejects.toMatchObject({ code: "bad_request" });
  await expect(start({ pollMs: 100 })).rejects.toMatchObject({ code: "bad_request" });
  await expect(start({ tasks: { a: { handler: () => 1, timeoutMs: -1 } } })).rejects.toMatchObject({ code: "bad_request" });
  const queue = await startEmbedded({ store: ":memory:", log: quiet, tasks: { known: () => undefined } });
  await expect(queue.enqueue("unknown" as "known", 1)).rejects.toMatchObject({ code: "bad_request" });
  await expect(queue.enqueue("known", 1n)).rejects.toMatchObject({ code: "bad_request" });
  await expect(queue.enqueue("known", 1, { maxAttempts: 0 })).rejects.toMatchObject({ code: "bad_request" });
  await expect(queue.waitFor(99 as never)).rejects.toMatchObject({ code: "not_found" });
  const unended = queue.waitFor(await queue.enqueue("known", 1, { delayMs: 3_600_000 }));
  expect(await queue.stop()).toEqual({ busy: 0 });
  await expect(unended).rejects.toMatchObject({ code: "unavailable" });
  await expect(queue.enqueue("known", 1)).rejects.toMatchObject({ code: "unavailable" });
  expect(await queue.stop({ drain: true })).toEqual({ busy: 0 });
});

test("a second process, or a second start, is told who owns the file", async () => {
  const store = join(tempDir("embedded"), "jobs.db");
  const queue = await startEmbedded({ store, log: quiet, tasks: { a: () => undefined } });
  onTestFinished(async () => {
    await queue.stop();
  });
  await expect(startEmbedded({ store, log: quiet, tasks: { a: () => undefined } })).rejects.toMatchObject({
    code: "store_locked",
    details: { pid: process.pid },
  });
});

test("a handler that was asked to stop is not settled twice, and stopping waits for what is active when it drains", async () => {
  const store = join(tempDir("embedded"), "jobs.db");
  let began: () => void = () => undefined;
  let release: () => void = () => undefined;
  const running = new Promise<void>((resolve) => {
    began = resolve;
  });
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const first = await startEmbedded({
    store,
    log: quiet,
    tasks: {
      obedient: async (_job: TaskJob, context) => {
        began();
        await new Promise((_resolve, reject) => context.signal.addEventListener("abort", () => reject(context.signal.reason as Error)));
      },
    },
  });
  const id = await first.enqueue("obedient", null);
  await running;
  expect(await first.stop()).toEqual({ busy: 0 });
  const second = await startEmbedded({
    store,
    log: quiet,
    tasks: {
      obedient: async () => {
        await gate;
        return "drained";
      },
    },
  });
  const ended = second.waitFor(id);
  await until(async () => (await second.get(id))?.state === "running", { what: "the job to run again" });
  const stopped = second.stop({ drain: true });
  release();
  expect(await ended).toMatchObject({ state: "done", attempts: 1, output: '"drained"' });
  expect(await stopped).toEqual({ busy: 0 });
});

test("after a kill the next start gives back what was held, and every job runs to its end", async () => {
  const store = join(tempDir("embedded"), "jobs.db");
  const module = new URL("./embedded.ts", import.meta.url).href;
  const program = `
    const { startEmbedded } = await import(${JSON.stringify(module)});
    const queue = await startEmbedded({ store: ${JSON.stringify(store)}, log: () => undefined, concurrency: 5, outstandingMax: 50, tasks: {
      work: async (job) => { if (job.payload === "hang") { process.stdout.write("hanging\\n"); await new Promise(() => undefined); } },
    } });
    await queue.enqueueMany("work", Array.from({ length: 300 }, (_, i) => (i % 60 === 59 ? "hang" : i)));`;
  const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  child.stdout.on("data", (text: Buffer) => (said += text.toString()));
  await until(() => said.split("hanging").length === 6, { what: "five handlers to hang" });
  child.kill("SIGKILL");
  await once(child, "exit");

  const lines: EmbeddedLogLine[] = [];
  const queue = await startEmbedded({ store, log: (line) => lines.push(line), tasks: { work: () => "again" } });
  onTestFinished(async () => {
    await queue.stop();
  });
  expect(lines.filter(({ event }) => event === "worker.dead")).toHaveLength(1);
  const jobs = await Promise.all(Array.from({ length: 300 }, (_, at) => queue.waitFor((at + 1) as never)));
  for (const job of jobs) expect(job).toMatchObject({ state: "done" });
  expect(jobs.filter((job) => job.attempts === 2).length).toBeGreaterThanOrEqual(5);
  expect(jobs.filter((job) => job.runCount > 1).length).toBeLessThanOrEqual(50);
});

test("a run hands no more to the log than its task allows, and says so once; another run of the task begins anew", async () => {
  const told: { readonly runId: unknown; readonly line: string }[] = [];
  const queue = await startEmbedded({
    store: ":memory:",
    log: ({ event, data }) => {
      if (event === "run.log") told.push({ runId: data["runId"], line: String(data["line"]) });
    },
    tasks: {
      loud: {
        logMaxBytes: 4096,
        handler: (_job: TaskJob, { log }) => {
          for (let n = 0; n < 100; n += 1) log("é".repeat(50));
        },
      },
    },
  });
  onTestFinished(async () => {
    await queue.stop();
  });
  for (const id of await queue.enqueueMany("loud", [1, 2])) await queue.waitFor(id);
  const runs = [...new Set(told.map(({ runId }) => runId))];
  expect(runs).toHaveLength(2);
  for (const runId of runs) {
    const lines = told.filter((each) => each.runId === runId).map(({ line }) => line);
    expect(lines).toHaveLength(41);
    expect(lines[39]).toBe("é".repeat(50));
    expect(lines[40]).toBe("[wakeful] more than 4096 bytes (logMaxBytes): the rest of this run's lines is dropped");
  }
  await expect(startEmbedded({ store: ":memory:", tasks: { a: { handler: () => 1, logMaxBytes: 100 } } })).rejects.toMatchObject({
    code: "bad_request",
  });
});
