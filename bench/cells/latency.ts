/** An idle embedded worker that polls once a second: from the call of enqueue to the start of the handler, in the same process. */
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { percentile } from "../figure.ts";
import { answer, inFolder, question } from "./answer.ts";
import { library } from "./built.ts";

const { jobs } = question() as { jobs: number };

await inFolder(async (folder) => {
  let started: (at: number) => void = () => undefined;
  const embedded = await library.startEmbedded({
    store: join(folder, "bench.db"),
    tasks: { noop: () => started(performance.now()) },
    pollMs: 1000,
    log: () => undefined,
  });
  const latencies: number[] = [];
  for (let at = 0; at < jobs + 20; at++) {
    const begun = new Promise<number>((resolve) => {
      started = resolve;
    });
    const asked = performance.now();
    const id = embedded.enqueue("noop", { at });
    const latency = (await begun) - asked;
    // The first ones warm up code and file.
    if (at >= 20) latencies.push(latency);
    await embedded.waitFor(await id);
    await pause(5);
  }
  await embedded.stop();
  answer({
    p50Ms: percentile(latencies, 0.5),
    p95Ms: percentile(latencies, 0.95),
    p99Ms: percentile(latencies, 0.99),
    maxMs: Math.max(...latencies),
  });
});
