import { expect, test } from "vitest";
import * as wakeful from "./index.ts";

test("the public door opens onto a worker, pipelines and a client", async () => {
  const queue = await wakeful.startEmbedded({
    store: ":memory:",
    log: () => undefined,
    tasks: {
      double: (job: wakeful.TaskJob<number>) => job.payload * 2,
      halve: wakeful.defineTask("halve", (job: wakeful.TaskJob<number>) => job.payload / 2, { timeoutMs: 60_000 }),
    },
  });
  expect(await queue.waitFor(await queue.enqueue("double", 21))).toMatchObject({ state: "done", output: "42" });
  expect(await queue.waitFor(await queue.enqueue("halve", 42))).toMatchObject({ state: "done", output: "21" });
  await queue.stop();
  const { definition } = wakeful.definePipeline("comics", {
    stages: { prep: { run: wakeful.command(["node", "prep.js"]), next: "ocr" }, ocr: { run: wakeful.handler(async () => null) } },
  });
  expect(definition.first).toBe("prep");
  const client = wakeful.createClient({ transport: async () => ({ status: 200, chunks: chunksOf('{"status":"ok"}') }) });
  expect(await client.call(wakeful.api.healthz, {})).toEqual({ status: "ok" });
});

async function* chunksOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}
