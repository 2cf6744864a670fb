import { expect, onTestFinished, test } from "vitest";
import { type EmbeddedLogLine, startEmbedded } from "../../src/embedded/embedded.ts";
import { createDatabase } from "../support/postgres.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

/** So long an outage is: an event of the world outside, which nothing here could wait for instead. */
async function lasts(ms: number): Promise<void> {
  const from = performance.now();
  await until(() => performance.now() - from >= ms, { what: `an outage of ${ms} ms` });
}

test("all packets of two applications lost for 50 s: neither takes the other for dead, and each job runs once [F-9.8]", async () => {
  const database = await createDatabase();
  onTestFinished(() => database.drop());
  const begun: string[] = [];
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const applications = await Promise.all(
    ["a", "b"].map(async (name) => {
      const proxy = await startTcpProxy(database.url);
      const lines: EmbeddedLogLine[] = [];
      const handler = async (): Promise<void> => {
        begun.push(name);
        await released;
      };
      const queue = await startEmbedded({
        store: proxy.url,
        dataDir: tempDir("state"),
        log: (line) => lines.push(line),
        tasks: { [name]: handler },
      });
      onTestFinished(async () => {
        release();
        await queue.stop();
      });
      return { proxy, lines, queue, id: await queue.enqueue(name, null) };
    }),
  );
  await until(() => begun.length === 2);
  for (const { proxy } of applications) {
    proxy.answering(false);
    proxy.silence();
  }
  await lasts(50_000);
  for (const { proxy } of applications) proxy.answering(true);
  // Longer than silence needs to count again, and than a session may be silent.
  await lasts(45_000);
  const dead = applications.flatMap(({ lines }) => lines.filter(({ event }) => event === "worker.dead" || event === "run.reaped"));
  expect(dead).toEqual([]);
  release();
  for (const { queue, id } of applications) await until(async () => (await queue.get(id))?.state === "done");
  expect([...begun].sort()).toEqual(["a", "b"]);
});
