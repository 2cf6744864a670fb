/**
 * The first process of its own pid namespace: makes the kernel give one pid twice, and prints what a probe says of the first owner before
 * and after the pid goes to another process.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { readHostIdentity } from "../../src/processes/probe/host-identity.ts";
import { createProcessProbe } from "../../src/processes/probe/identity.ts";
import { systemProcessTable } from "../../src/processes/probe/process-table.ts";
import { newHostId } from "../../src/runtime/entropy.ts";

const host = await readHostIdentity({ stateDir: process.argv[2] ?? "", randomId: newHostId });
const table = systemProcessTable();
const probe = createProcessProbe({ host, table });

const startTimeOf = (pid: number): string | undefined => {
  const sight = table.look(pid);
  return sight.kind === "seen" ? sight.row.startTime : undefined;
};

async function start(): Promise<{ readonly child: ChildProcess; readonly pid: number }> {
  const child = spawn("sleep", ["600"]);
  await once(child, "spawn");
  return { child, pid: child.pid ?? 0 };
}

async function end(child: ChildProcess): Promise<void> {
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

const first = await start();
const startTime = startTimeOf(first.pid) ?? "";
const identity = { ...host, pid: first.pid, startTime };
const before = probe.observe(identity);
await end(first.child);
const between = probe.observe(identity);

let reusedBy: ChildProcess | undefined;
for (let tries = 0; reusedBy === undefined && tries < 500; tries++) {
  writeFileSync("/proc/sys/kernel/ns_last_pid", String(first.pid - 1));
  const next = await start();
  // Start times are counted in hundredths of a second: within the same one both would look alike.
  if (next.pid === first.pid && startTimeOf(next.pid) !== startTime) reusedBy = next.child;
  else await end(next.child);
}
const after = probe.observe(identity);
if (reusedBy !== undefined) await end(reusedBy);
process.stdout.write(JSON.stringify({ before, between, reused: reusedBy !== undefined, after }));
