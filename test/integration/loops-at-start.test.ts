import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { adminTokenPath } from "../../src/http/tokens.ts";
import { readHostIdentity } from "../../src/processes/probe/host-identity.ts";
import { linuxProcessTable } from "../../src/processes/probe/process-table.ts";
import { api } from "../../src/protocol/api/index.ts";
import { createClient } from "../../src/protocol/client.ts";
import { writeHostRecord } from "../../src/worker/handler-host/leftover-host.ts";
import { oneStage, startTestDaemon } from "../support/daemon.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

test("nobody can make a loop tick before the start-up requeue is over: asked while it goes on the daemon answers unavailable [B-5]", async () => {
  const folder = tempDir("at-start");
  const dataDir = join(folder, "data");
  await mkdir(dataDir, { mode: 0o700 });
  // A daemon stops what an earlier one left before it judges anything; this leftover lives as long as the test wants.
  const leftover = spawn("sh", ["-c", "trap '' TERM; echo; while :; do sleep 0.05; done"], { stdio: ["ignore", "pipe", "ignore"] });
  onTestFinished(() => {
    leftover.kill("SIGKILL");
  });
  await once(leftover.stdout, "data");
  const pid = leftover.pid ?? 0;
  const host = await readHostIdentity({ stateDir: dataDir, randomId: () => "at-start-test" });
  const sight = linuxProcessTable().look(pid);
  if (sight.kind !== "seen") throw new Error("the leftover cannot be seen");
  await writeHostRecord(dataDir, { ...host, pid, startTime: sight.row.startTime });

  let started = false;
  const starting = startTestDaemon({
    yaml: `${oneStage("true")}worker: { deadAfterMs: 1h }\nstop: { stopGraceMs: 30m }\n`,
    folder,
  }).finally(() => {
    started = true;
  });
  const token = await until(async () => (await readFile(adminTokenPath(dataDir), "utf8").catch(() => "")).trim() || undefined);
  // Its socket, whose path is known before it listens.
  const client = createClient({ socketPath: join(dataDir, "wakeful.sock"), token });
  const run = async () => await client.call(api.runLoop, { params: { name: "job-reaper" }, body: {} });
  const refused = await until(async () => {
    const thrown: unknown = await run().then(
      () => new Error("it ticked"),
      (error: unknown) => error,
    );
    // The API does not listen yet.
    return Reflect.get(thrown as object, "code") === "daemon_unreachable" && !started ? undefined : thrown;
  });
  expect(refused).toMatchObject({ code: "unavailable", retryable: true });
  expect(started).toBe(false);
  const { loops } = await client.call(api.listLoops, {});
  expect(loops.map(({ ticks }) => ticks).every((ticks) => ticks === 0)).toBe(true);

  leftover.kill("SIGKILL");
  await starting;
  expect(await run()).toMatchObject({ report: { failed: 0 } });
});
