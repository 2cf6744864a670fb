import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { readHostIdentity } from "../../src/processes/probe/host-identity.ts";
import { linuxProcessTable } from "../../src/processes/probe/process-table.ts";
import { api } from "../../src/protocol/api/index.ts";
import { hostRecordPath, writeHostRecord } from "../../src/worker/handler-host/leftover-host.ts";
import { cli } from "../support/cli-call.ts";
import { startTestDaemon, submit, untilItem } from "../support/daemon.ts";
import { bundleHandlerHost } from "../support/handler-host.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

const yaml = `
dataDir: ./data
worker: { handlers: ./handlers.mjs }
stop: { stopGraceMs: 100, killGraceMs: 100 }
pipelines:
  p:
    stages:
      work: { run: { handler: work } }
`;

let program: string;
let remove: () => void;
beforeAll(async () => {
  ({ program, remove } = await bundleHandlerHost());
});
afterAll(() => remove());

/** A folder whose last daemon left a handler host: a process of this test, recorded by its identity. */
async function folderWithLeftover(): Promise<{
  readonly folder: string;
  readonly dataDir: string;
  readonly child: ChildProcess;
  readonly pid: number;
}> {
  const folder = tempDir("leftover");
  const dataDir = join(folder, "data");
  await mkdir(dataDir, { mode: 0o700 });
  await writeFile(join(folder, "handlers.mjs"), "export const work = () => 'done';");
  const child = spawn("sleep", ["600"], { stdio: "ignore" });
  await once(child, "spawn");
  const pid = child.pid ?? 0;
  const host = await readHostIdentity({ stateDir: dataDir, randomId: () => "leftover-test" });
  const sight = linuxProcessTable().look(pid);
  if (sight.kind !== "seen") throw new Error("the leftover cannot be seen");
  await writeHostRecord(dataDir, { ...host, pid, startTime: sight.row.startTime });
  return { folder, dataDir, child, pid };
}

const alertsIn = (dataDir: string): readonly { readonly cause: string; readonly title: string; readonly details: object }[] => {
  const path = join(dataDir, "alerts.jsonl");
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { cause: string; title: string; details: object });
};

test("a leftover handler host that survives KILL is told by one alert, which the doctor shows; no other is started beside it until it is gone", async () => {
  const { folder, dataDir, child, pid } = await folderWithLeftover();
  const kill = process.kill.bind(process);
  // As a process in an uninterruptible wait: it takes signals and does not die of them.
  const spy = vi.spyOn(process, "kill").mockImplementation((target, signal) => (Math.abs(target) === pid ? true : kill(target, signal)));
  onTestFinished(() => {
    spy.mockRestore();
    child.kill("SIGKILL");
  });
  const first = await startTestDaemon({ yaml, folder, handlerHost: program });
  await until(() => alertsIn(dataDir).length > 0, { what: "the alert" });
  expect(alertsIn(dataDir)).toMatchObject([
    {
      cause: `handler_host:${pid}`,
      title: `The handler host of an earlier daemon, pid ${pid}, cannot be stopped: no other is started beside it`,
      details: { pid },
    },
  ]);
  expect(spy.mock.calls.filter(([target]) => target === pid).map(([, signal]) => signal)).toEqual(["SIGTERM", "SIGKILL"]);
  expect(existsSync(hostRecordPath(dataDir)), "the next daemon looks at it again").toBe(true);
  const { workers } = await first.client.call(api.listWorkers, {});
  expect(workers.map(({ kind }) => kind)).toEqual(["command"]);
  const id = await submit(first.client, "waits");
  const doctor = await cli(["doctor"], {
    cwd: folder,
    env: { PATH: process.env["PATH"] ?? "" },
    host: { clock: { ...wallClock } as never },
  });
  expect(doctor.out).toContain(`alert handler_host:${pid}: The handler host of an earlier daemon, pid ${pid}, cannot be stopped`);
  await first.stop("leave");

  spy.mockRestore();
  child.kill("SIGKILL");
  await once(child, "exit");
  const second = await startTestDaemon({ yaml, folder, handlerHost: program });
  await untilItem(second.client, id, "done");
  expect(alertsIn(dataDir).filter(({ cause }) => cause.startsWith("handler_host:"))).toHaveLength(1);
});

const wallClock = { wall: () => Date.now(), mono: () => performance.now() };
