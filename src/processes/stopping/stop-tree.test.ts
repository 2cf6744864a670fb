import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type CommandRun, type CommandRunOptions, commandRun, shellNames, toolsOf } from "../../../test/support/command-run.ts";
import { present } from "../../../test/support/present.ts";
import { until } from "../../../test/support/until.ts";
import { writtenPid } from "../../../test/support/written-pid.ts";
import { systemClock } from "../../runtime/clock.ts";
import type { ProcessIdentity } from "../probe/identity.ts";
import { linuxOpenFiles, type OpenFiles } from "../probe/open-files.ts";
import { identityOf } from "../probe/own-identity.ts";
import { isFrozen } from "../probe/process-stat.ts";
import { probeLifePipe } from "../run-folder/life-pipe.ts";
import { type StopResult, stopTree } from "./stop-tree.ts";
import { findStrays, type RunTree } from "./strays.ts";

const clock = systemClock();

/** A run whose script says that it is ready by making the file `ready`; the answer holds its command. */
async function readyRun(options: CommandRunOptions): Promise<CommandRun & { self: ProcessIdentity; fullTree: RunTree }> {
  const run = await commandRun(options);
  const command = await run.command();
  await until(async () => (await stat(join(run.workDir, "ready"))).isFile(), { everyMs: 2, what: "the script to be ready" });
  return { ...run, self: command, fullTree: { ...run.tree, command } };
}

/** Longer than anything takes to end: what is to be stopped is waited for as long as that takes. */
const patient = { stopGraceMs: 60_000, killGraceMs: 60_000 };
const stop = (run: CommandRun & { fullTree: RunTree }, changes: Partial<Parameters<typeof stopTree>[1]> = {}): Promise<StopResult> =>
  stopTree(run.fullTree, { clock, runDir: run.runDir, ...patient, ...changes });

/** The pid that the script wrote to a file of its work directory, as an identity. */
async function identityFrom(run: CommandRun, name: string): Promise<ProcessIdentity> {
  const pid = await writtenPid(join(run.workDir, name));
  const sight = run.tree.table.look(pid);
  if (sight.kind !== "seen") throw new Error(`${name} is gone`);
  return identityOf(run.host, sight.row);
}

const isAlive = (run: CommandRun, identity: ProcessIdentity): boolean => {
  const sight = run.tree.table.look(identity.pid);
  return sight.kind === "seen" && sight.row.startTime === identity.startTime && sight.row.state !== "Z";
};

const frozen = (run: CommandRun, identity: ProcessIdentity): boolean => {
  const sight = run.tree.table.look(identity.pid);
  return sight.kind === "seen" && isFrozen(sight.row);
};

test("in a hurry the grace is over at once, also when the hurry comes in the middle of it", async () => {
  const tools = present((await Promise.all(shellNames.map(toolsOf))).find((found) => found !== undefined));
  const run = await readyRun({ tools, argv: ["sh", "-c", "trap '' TERM; : > ready; while :; do sleep 60; done"] });
  const hurry = new AbortController();
  const stopping = stop(run, { stopGraceMs: 3_600_000, hurry: hurry.signal });
  hurry.abort();
  expect(await stopping).toMatchObject({ stopped: true });
  expect(isAlive(run, run.self)).toBe(false);
});

describe.each(shellNames)("a run under %s", (shell) => {
  test("ends by TERM to its group; the wrapper is left to record it", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    const run = await readyRun({ tools, argv: ["sh", "-c", "sleep 61 & echo $! > child; : > ready; sleep 60"] });
    const child = await identityFrom(run, "child");
    const result = await stop(run);
    expect(result).toMatchObject({ stopped: true, proof: { lifePipe: "released" } });
    expect(result.stopped && result.proof.signals.map(({ signal }) => signal)).not.toContain("SIGKILL");
    expect(await run.exit()).toMatchObject({ kind: "exit", status: 143 });
    expect(await run.wrapper.exited).toEqual({ exitCode: 0, signal: null });
    expect(isAlive(run, child)).toBe(false);
  });

  test("a job that ignores TERM is killed after the grace", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    const run = await readyRun({ tools, argv: ["sh", "-c", "trap '' TERM; : > ready; while :; do sleep 1; done"] });
    const result = await stop(run, { stopGraceMs: 50 });
    expect(result).toMatchObject({ stopped: true });
    expect(await run.exit()).toMatchObject({ kind: "exit", status: 137 });
  });

  test("a grandchild that left the session and lost its parents is found by its marker and stopped", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    const script = "(setsid sh -c 'echo $$ > stray; exec sleep 62' &) ; : > ready; sleep 60";
    const run = await readyRun({ tools, argv: ["sh", "-c", script] });
    const stray = await identityFrom(run, "stray");
    await until(() => {
      const sight = run.tree.table.look(stray.pid);
      return sight.kind === "seen" && sight.row.sessionId === stray.pid;
    });
    expect(await stop(run)).toMatchObject({ stopped: true });
    expect(isAlive(run, stray)).toBe(false);
  });

  test("a frozen wrapper goes on once its command is gone, and records the exit", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    const run = await readyRun({ tools, argv: ["sh", "-c", ": > ready; sleep 60"] });
    const { identity } = run.wrapper;
    for (const pid of [identity.pid, run.self.pid]) run.tree.table.signal(pid, "SIGSTOP");
    await until(() => frozen(run, identity), { everyMs: 2, what: "the wrapper to be frozen" });
    const result = await stop(run);
    expect(result).toMatchObject({ stopped: true, proof: { lifePipe: "released" } });
    const toWrapper = result.stopped ? result.proof.signals.filter(({ process }) => process.pid === identity.pid) : [];
    expect(toWrapper.map(({ signal }) => signal)).toContain("SIGCONT");
    expect(new Set(toWrapper.map(({ signal }) => signal)).size).toBe(1);
    expect(await run.exit()).toMatchObject({ kind: "exit", status: 143 });
  });

  test("a frozen process gets TERM, then CONT", async () => {
    const tools = await toolsOf(shell);
    if (tools === undefined) return;
    const run = await readyRun({ tools, argv: ["sh", "-c", "trap 'exit 9' TERM; : > ready; while :; do sleep 0.01; done"] });
    process.kill(run.self.pid, "SIGSTOP");
    await until(() => {
      const sight = run.tree.table.look(run.self.pid);
      return sight.kind === "seen" && isFrozen(sight.row);
    });
    const result = await stop(run);
    expect(result).toMatchObject({ stopped: true });
    expect(await run.exit()).toMatchObject({ kind: "exit", status: 9 });
    const signals = result.stopped ? result.proof.signals.filter(({ process }) => process.pid === run.self.pid) : [];
    expect(signals.map(({ signal }) => signal).slice(0, 2)).toEqual(["SIGTERM", "SIGCONT"]);
  });
});

test("what a daemon left behind after its command's end is a stray: marked, in the session, or seen before", async () => {
  const tools = await toolsOf("dash");
  if (tools === undefined) return;
  const script = [
    "(setsid sh -c 'echo $$ > marked; exec sleep 63' &)",
    "(env -i sh -c 'echo $$ > insession; exec /bin/sleep 63' &)",
    "(setsid env -i sh -c 'echo $$ > hidden; exec /bin/sleep 63' &)",
    ": > ready",
  ].join("; ");
  const run = await readyRun({ tools, argv: ["sh", "-c", script] });
  const [marked, inSession, hidden] = await Promise.all(["marked", "insession", "hidden"].map((name) => identityFrom(run, name)));
  if (marked === undefined || inSession === undefined || hidden === undefined) throw new Error("a stray is missing");
  expect(await run.exit()).toMatchObject({ kind: "exit", status: 0 });
  await run.wrapper.exited;
  await until(() => run.tree.table.look(hidden.pid).kind === "seen");
  await until(async () => !(await readFile(`/proc/${hidden.pid}/environ`, "latin1")).includes("WAKEFUL"));
  await until(async () => !(await readFile(`/proc/${inSession.pid}/environ`, "latin1")).includes("WAKEFUL"));

  const pids = (strays: readonly ProcessIdentity[]): number[] => strays.map(({ pid }) => pid).sort((a, b) => a - b);
  expect(pids(findStrays(run.fullTree))).toEqual([marked.pid]);
  expect(pids(findStrays({ ...run.fullTree, endedAgoMs: 0 }))).toEqual(pids([marked, inSession]));
  // Whoever is younger than the command's end cannot have been of its session.
  expect(pids(findStrays({ ...run.fullTree, endedAgoMs: 3_600_000 }))).toEqual([marked.pid]);
  expect(pids(findStrays({ ...run.fullTree, endedAgoMs: 0, seen: [hidden] }))).toEqual(pids([marked, inSession, hidden]));

  expect(await probeLifePipe(run.runDir)).toBe("held");
  expect(await stop({ ...run, fullTree: { ...run.fullTree, endedAgoMs: 0, seen: [hidden] } })).toMatchObject({
    stopped: true,
    proof: { lifePipe: "released" },
  });
  for (const stray of [marked, inSession, hidden]) expect(isAlive(run, stray)).toBe(false);
  // The record tells how the command ended, whatever happened to what it left behind.
  expect(await run.exit()).toMatchObject({ kind: "exit", status: 0 });
});

test("a run whose pids are all gone is not released while its life pipe is held", async () => {
  const tools = await toolsOf("dash");
  if (tools === undefined) return;
  const run = await readyRun({ tools, argv: ["sh", "-c", "(setsid env -i sh -c 'echo $$ > hidden; exec /bin/sleep 63' &) ; : > ready"] });
  const hidden = await identityFrom(run, "hidden");
  await run.wrapper.exited;
  await until(async () => !(await readFile(`/proc/${hidden.pid}/environ`, "latin1")).includes("WAKEFUL"));
  // Where nothing tells who holds the pipe.
  const files: OpenFiles = { ...linuxOpenFiles(), identifyFifo: () => undefined };
  expect(await stop(run, { stopGraceMs: 10, killGraceMs: 10, files })).toMatchObject({ stopped: false, survivors: [], lifePipe: "held" });
  expect(await stop({ ...run, fullTree: { ...run.fullTree, seen: [hidden] } })).toMatchObject({ stopped: true });
});

test("another run, a registered session and what is below them are left alone", async () => {
  const tools = await toolsOf("dash");
  if (tools === undefined) return;
  const script = [
    "sh -c 'echo $$ > session; sleep 64 & echo $! > below; wait' &",
    "WAKEFUL_RUN_MARKER=99:elsewhere setsid sh -c 'echo $$ > other; exec sleep 64' &",
    ": > ready; wait",
  ].join(" ");
  const run = await readyRun({ tools, argv: ["sh", "-c", script] });
  const [session, below, other] = await Promise.all(["session", "below", "other"].map((name) => identityFrom(run, name)));
  if (session === undefined || below === undefined || other === undefined) throw new Error("a process is missing");
  await until(async () => (await readFile(`/proc/${other.pid}/environ`, "latin1")).includes("99:elsewhere"));
  // They inherited the life pipe, as only shells do (Node closes what it inherits to its children), so the pipe is not asked here.
  expect(await stopTree({ ...run.fullTree, shielded: [session] }, { clock, ...patient })).toMatchObject({ stopped: true });
  expect(isAlive(run, run.self)).toBe(false);
  for (const spared of [session, below, other]) expect(isAlive(run, spared)).toBe(true);
  for (const { pid } of [other, below, session]) run.tree.table.signal(pid, "SIGKILL");
});

test("a pid that is not the command's any more is never signalled", async () => {
  const tools = await toolsOf("dash");
  if (tools === undefined) return;
  const run = await readyRun({ tools, argv: ["sh", "-c", ": > ready; exec sleep 60"] });
  const reused = { ...run.self, startTime: "1" };
  const stranger = { runId: run.runId, host: { ...run.host, hostId: "other" as typeof run.host.hostId } };
  expect(await stopTree({ ...stranger, table: run.tree.table, command: reused }, { clock })).toMatchObject({
    stopped: true,
    proof: { signals: [] },
  });
  expect(isAlive(run, run.self)).toBe(true);
});

test("between the look and the signal the identity is checked again", async () => {
  const signals: string[] = [];
  const row = { pid: 4242, parentPid: 1, groupId: 4242, sessionId: 4242, state: "S", startTime: "10" };
  const host = { hostId: "h" as ProcessIdentity["hostId"], bootId: "b", pidNamespace: "n" };
  const table: RunTree["table"] = {
    list: () => [row],
    look: () => ({ kind: "seen", row: { ...row, startTime: "11" } }),
    lookMany: () => [],
    environmentValue: () => undefined,
    ageMs: () => undefined,
    signal: (pid, signal) => {
      signals.push(`${pid} ${signal}`);
      return "sent";
    },
  };
  let now = 0;
  const result = await stopTree(
    { runId: 1 as RunTree["runId"], host, table, command: identityOf(host, row) },
    {
      clock: { mono: () => now },
      pause: async (ms) => {
        now += ms;
      },
    },
  );
  expect(result).toMatchObject({ stopped: false });
  expect(signals).toEqual([]);
});

test("a process that may not be signalled is a survivor, after TERM, grace and KILL", async () => {
  const row = { pid: 4242, parentPid: 1, groupId: 1, sessionId: 1, state: "S", startTime: "10" };
  const host = { hostId: "h" as ProcessIdentity["hostId"], bootId: "b", pidNamespace: "n" };
  const table: RunTree["table"] = {
    list: () => [row],
    look: () => ({ kind: "seen", row }),
    lookMany: () => [],
    environmentValue: () => undefined,
    ageMs: () => undefined,
    signal: () => "denied",
  };
  let now = 0;
  const result = await stopTree(
    { runId: 1 as RunTree["runId"], host, table, command: identityOf(host, row) },
    {
      clock: { mono: () => now },
      pause: async (ms) => {
        now += ms;
      },
    },
  );
  expect(result).toMatchObject({ stopped: false, survivors: [{ pid: 4242, startTime: "10" }], lifePipe: "not_asked" });
  expect(result.stopped ? [] : result.signals.map(({ signal, outcome }) => `${signal} ${outcome}`)).toEqual([
    "SIGTERM denied",
    "SIGKILL denied",
  ]);
  expect(now).toBeGreaterThanOrEqual(7000);
});

test("a look at the processes that takes longer than the grace still leads to TERM before KILL", async () => {
  const row = { pid: 4242, parentPid: 1, groupId: 1, sessionId: 1, state: "S", startTime: "10" };
  const host = { hostId: "h" as ProcessIdentity["hostId"], bootId: "b", pidNamespace: "n" };
  const signals: string[] = [];
  let now = 0;
  const table: RunTree["table"] = {
    list: () => {
      now += 10_000;
      return [row];
    },
    look: () => ({ kind: "seen", row }),
    lookMany: () => [],
    environmentValue: () => undefined,
    ageMs: () => undefined,
    signal: (_, signal) => {
      signals.push(signal);
      return "sent";
    },
  };
  const clock = { mono: () => now };
  await stopTree({ runId: 1 as RunTree["runId"], host, table, command: identityOf(host, row) }, { clock, pause: async () => undefined });
  expect(signals).toEqual(["SIGTERM", "SIGKILL"]);
});

test("an abandoned wait answers with what is left", async () => {
  const tools = await toolsOf("dash");
  if (tools === undefined) return;
  const run = await readyRun({ tools, argv: ["sh", "-c", "trap '' TERM; : > ready; while :; do sleep 1; done"] });
  expect(await stop(run, { signal: AbortSignal.abort() })).toMatchObject({ stopped: false });
  expect(isAlive(run, run.self)).toBe(true);
});
