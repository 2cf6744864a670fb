import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import { startTestDaemon, submit, type TestDaemon, untilItem } from "../support/daemon.ts";
import { faketimeEnvironment, faketimeLibrary } from "../support/faketime.ts";
import { createDatabase } from "../support/postgres.ts";
import { startPostgresServer } from "../support/postgres-server.ts";
import { skipTest } from "../support/skips.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import type { TcpProxy } from "../support/tcp-proxy-listener.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

interface Line {
  readonly event: string;
  readonly level: string;
  readonly message: string;
}

const linesOf = ({ log }: TestDaemon): readonly Line[] => log.map((line) => JSON.parse(line) as Line);
const told = (daemon: TestDaemon, event: string): readonly Line[] => linesOf(daemon).filter((line) => line.event === event);

/** A daemon whose only stage notes each execution in `ledger`, and ends once there is a file `go`. */
async function startOn(url: string, folder: string): Promise<TestDaemon> {
  const script = `echo $WAKEFUL_ITEM_KEY >> ${folder}/ledger; until [ -e ${folder}/go ]; do sleep 0.1; done`;
  return await startTestDaemon({
    yaml: `
store: ${url}
dataDir: ./data
log: { json: true, level: info }
pipelines:
  p:
    stages:
      work: { run: { command: [sh, -c, ${JSON.stringify(script)}] }, timeout: 1h, retry: { min: 0s, max: 0s } }
`,
  });
}

const ledgerOf = (folder: string): readonly string[] =>
  existsSync(join(folder, "ledger")) ? readFileSync(join(folder, "ledger"), "utf8").trim().split("\n") : [];

async function readyOf({ client }: TestDaemon): Promise<{ readonly ready: boolean; readonly reasons: readonly string[] }> {
  return await client.call(api.readyz, {});
}

async function database(): Promise<string> {
  const made = await createDatabase();
  onTestFinished(() => made.drop());
  return made.url;
}

/** So long an outage is: an event of the world outside, which nothing here could wait for instead. */
async function lasts(ms: number): Promise<void> {
  const from = performance.now();
  await until(() => performance.now() - from >= ms, { what: `an outage of ${ms} ms` });
}

test("a server that is away: not ready, one line at the beginning, one at the end, and the work goes on [F-7.3]", async () => {
  const proxy = await startTcpProxy(await database());
  const folder = tempDir("outage");
  const daemon = await startOn(proxy.url, folder);
  await until(async () => (await readyOf(daemon)).ready);
  const before = linesOf(daemon).length;
  proxy.refusing(true);
  proxy.cut();
  await until(async () => (await readyOf(daemon)).reasons.includes("store does not answer"));
  await lasts(10_000);
  expect(await readyOf(daemon)).toMatchObject({ ready: false, reasons: ["store does not answer"] });
  proxy.refusing(false);
  await until(async () => (await readyOf(daemon)).ready);
  await until(() => told(daemon, "store.recovered").length > 0);
  const errors = linesOf(daemon)
    .slice(before)
    .filter(({ level }) => level === "error");
  expect(errors).toMatchObject([{ message: expect.stringMatching(/does not answer/) }]);
  expect(told(daemon, "store.recovered")).toHaveLength(1);
  writeFileSync(join(folder, "go"), "");
  await untilItem(daemon.client, await submit(daemon.client, "after"), "done");
});

test("all packets lost for 70 s, for two daemons: nobody is taken for dead, nothing runs twice, and both clocks are right [F-9.8]", async () => {
  const url = await database();
  const folder = tempDir("packets");
  const proxies: readonly TcpProxy[] = [await startTcpProxy(url), await startTcpProxy(url)];
  const daemons = [await startOn(proxies[0]?.url ?? "", folder), await startOn(proxies[1]?.url ?? "", folder)] as const;
  const items = [await submit(daemons[0].client, "a"), await submit(daemons[1].client, "b")];
  await until(() => ledgerOf(folder).length === 2);
  for (const proxy of proxies) {
    proxy.answering(false);
    proxy.silence();
  }
  await lasts(70_000);
  for (const proxy of proxies) proxy.answering(true);
  for (const daemon of daemons) await until(async () => (await readyOf(daemon)).ready, { timeoutMs: 45_000 });
  const instants = await Promise.all(daemons.map(async ({ client }) => (await client.call(api.getDaemon, {})).now));
  expect(Math.abs((instants[0] ?? 0) - (instants[1] ?? 0))).toBeLessThan(5000);
  // Longer than silence needs to count again, and than a session may be silent.
  await lasts(45_000);
  for (const daemon of daemons) for (const event of ["worker.dead", "run.reaped", "run.stopped"]) expect(told(daemon, event)).toEqual([]);
  writeFileSync(join(folder, "go"), "");
  for (const item of items) await untilItem(daemons[0].client, item, "done");
  expect([...ledgerOf(folder)].sort()).toEqual(["a", "b"]);
});

test("the server's clock set forward by two minutes takes nobody for dead, and no run's time [F-9.9]", async (context) => {
  if (faketimeLibrary === undefined) skipTest(context, "libfaketime is not installed");
  const steps = mkdtempSync("/tmp/wakeful-test-faketime-");
  onTestFinished(() => rmSync(steps, { recursive: true }));
  chmodSync(steps, 0o755);
  const step = join(steps, "step");
  writeFileSync(step, "+0");
  const server = await startPostgresServer({ environment: faketimeEnvironment(faketimeLibrary, step) });
  onTestFinished(() => server.stop());
  const folder = tempDir("step");
  // Each looks at the server's clock in its own time, and judges the sessions of the other meanwhile.
  const daemons = [await startOn(server.url, folder), await startOn(server.url, folder)] as const;
  const items = [await submit(daemons[0].client, "a"), await submit(daemons[1].client, "b")];
  await until(() => ledgerOf(folder).length === 2);
  writeFileSync(step, "+120");
  for (const daemon of daemons) await until(() => told(daemon, "store.clock_stepped").length > 0, { what: "the step to be noticed" });
  // Longer than silence needs to count again, and than a session may be silent.
  await lasts(50_000);
  for (const daemon of daemons) for (const event of ["worker.dead", "run.reaped", "run.stopped"]) expect(told(daemon, event)).toEqual([]);
  writeFileSync(join(folder, "go"), "");
  for (const item of items) await untilItem(daemons[0].client, item, "done");
  expect([...ledgerOf(folder)].sort()).toEqual(["a", "b"]);
});
