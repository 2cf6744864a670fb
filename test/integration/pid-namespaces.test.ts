import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, onTestFinished, type TestContext, test } from "vitest";
import { readHostIdentity } from "../../src/processes/probe/host-identity.ts";
import { createProcessProbe } from "../../src/processes/probe/identity.ts";
import { systemProcessTable } from "../../src/processes/probe/process-table.ts";
import { probeLifePipe } from "../../src/processes/run-folder/life-pipe.ts";
import { newHostId } from "../../src/runtime/entropy.ts";
import { makeFifo } from "../support/fifo.ts";
import { skipTest } from "../support/skips.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";

const ownNamespace = ["--pid", "--fork", "--mount-proc", "--kill-child"] as const;

/** Whether a pid namespace can be made here, and does what `script` asks of it. */
function need(context: TestContext, script: string): void {
  try {
    execFileSync("unshare", [...ownNamespace, "sh", "-c", script], { stdio: "ignore" });
  } catch {
    skipTest(context, "no pid namespace can be made here");
  }
}

test("a pid that the kernel has really given to another process is dead, not alive [B-G4]", async (context) => {
  need(context, "echo 100 > /proc/sys/kernel/ns_last_pid");
  const script = fileURLToPath(new URL("../support/pid-reuse-process.ts", import.meta.url));
  const inIt = [...ownNamespace, process.execPath, "--import", "tsx", script, tempDir("pid-reuse")];
  const { stdout } = await promisify(execFile)("unshare", inIt);
  expect(JSON.parse(stdout)).toMatchObject({
    before: { kind: "alive" },
    between: { kind: "dead" },
    reused: true,
    after: { kind: "dead", why: "other_start_time" },
  });
});

test("of a process in another pid namespace its pid says nothing here, and its life pipe tells when it is gone [B-G5]", async (context) => {
  need(context, "true");
  const runDir = tempDir("pid-namespace");
  const told = join(runDir, "told");
  makeFifo(join(runDir, "alive"));
  const script = `exec 9<>"${runDir}/alive"; readlink /proc/$$/ns/pid > "${told}.new"; mv "${told}.new" "${told}"; exec sleep 600`;
  const unshare = spawn("unshare", [...ownNamespace, "sh", "-c", script], { stdio: "ignore" });
  const ended = once(unshare, "exit");
  onTestFinished(() => void unshare.kill("SIGKILL"));
  await until(() => existsSync(told), { what: "the process to tell its namespace" });

  const host = await readHostIdentity({ stateDir: runDir, randomId: newHostId });
  const probe = createProcessProbe({ host, table: systemProcessTable() });
  const pidNamespace = readFileSync(told, "utf8").trim();
  expect(pidNamespace).not.toBe(host.pidNamespace);
  // In its own namespace it is process 1, which is another living process here.
  expect(probe.observe({ ...host, pidNamespace, pid: 1, startTime: "1" })).toEqual({ kind: "unknown", why: "foreign_namespace" });
  expect(await probeLifePipe(runDir)).toBe("held");
  unshare.kill("SIGKILL");
  await ended;
  await until(async () => (await probeLifePipe(runDir)) === "released", { what: "the kernel to close what the process held" });
});
