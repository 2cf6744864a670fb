import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { type CommandRun, commandRun, shellNames, toolsOf } from "../../../test/support/command-run.ts";
import { present } from "../../../test/support/present.ts";
import { until } from "../../../test/support/until.ts";
import { systemClock } from "../../runtime/clock.ts";
import { timerPause } from "../../runtime/pause.ts";
import type { ProcessIdentity } from "../probe/identity.ts";
import { linuxOpenFiles, type OpenFiles } from "../probe/open-files.ts";
import { identityOf } from "../probe/own-identity.ts";
import { isFrozen } from "../probe/process-stat.ts";
import { probeLifePipe } from "../run-folder/life-pipe.ts";
import { runFiles } from "../run-folder/run-files.ts";
import { markerVariable } from "../run-folder/run-marker.ts";
import { type StopResult, stopTree } from "./stop-tree.ts";
import { findStrays, type RunTree } from "./strays.ts";

const clock = systemClock();

/** A process that leaves its session, its parents and its environment behind, and writes its pid to the file `hidden`. */
const hide = (script: string, variables = "", first = ":"): string =>
  `(setsid env -i ${variables} /bin/sh -c '${first}; echo $$ > hidden; ${script}' &)`;

/** The same, ignoring TERM before it can be seen. */
const hideFromTerm = (script: string): string => hide(script, "", 'trap "" TERM');

/** Longer than anything takes to end: what is to be stopped is waited for as long as that takes. */
const patient = { stopGraceMs: 60_000, killGraceMs: 60_000 };

interface EndedRun {
  readonly run: CommandRun;
  readonly tree: RunTree;
  readonly hidden: ProcessIdentity;
}

const isAlive = ({ table }: RunTree, { pid, startTime }: ProcessIdentity): boolean => {
  const sight = table.look(pid);
  return sight.kind === "seen" && sight.row.startTime === startTime && sight.row.state !== "Z";
};

function killAtTheEnd(tree: RunTree, process: ProcessIdentity): void {
  onTestFinished(() => {
    if (isAlive(tree, process)) tree.table.signal(process.pid, "SIGKILL");
  });
}

/** A run whose command and wrapper have ended, and left a hidden process behind. */
async function endedRun(shell: Parameters<typeof toolsOf>[0], script: string): Promise<EndedRun | undefined> {
  const tools = await toolsOf(shell);
  if (tools === undefined) return undefined;
  const run = await commandRun({ tools, argv: ["sh", "-c", `${script}; until [ -s hidden ]; do sleep 0.01; done`] });
  const command = await run.command();
  await run.exit();
  await run.wrapper.exited;
  const tree: RunTree = { ...run.tree, command };
  const sight = tree.table.look(Number(await readFile(join(run.workDir, "hidden"), "utf8")));
  if (sight.kind !== "seen") throw new Error("what was to be hidden is gone");
  const hidden = identityOf(run.host, sight.row);
  killAtTheEnd(tree, hidden);
  return { run, tree, hidden };
}

const stop = ({ run, tree }: EndedRun, changes: Partial<Parameters<typeof stopTree>[1]> = {}): Promise<StopResult> =>
  stopTree(tree, { clock, runDir: run.runDir, ...patient, ...changes });

describe.each(shellNames)("what left its session, its parents and its environment under %s", (shell) => {
  test("is found by the life pipe that it holds, and ends by TERM", async () => {
    const ended = await endedRun(shell, hide("exec /bin/sleep 60"));
    if (ended === undefined) return;
    expect(findStrays({ ...ended.tree, endedAgoMs: 0 })).toEqual([]);
    expect(await probeLifePipe(ended.run.runDir)).toBe("held");
    const result = await stop(ended);
    expect(result).toMatchObject({ stopped: true, proof: { gone: [ended.hidden], lifePipe: "released" } });
    expect(result.stopped && result.proof.signals.map(({ signal }) => signal)).toEqual(["SIGTERM"]);
    expect(isAlive(ended.tree, ended.hidden)).toBe(false);
  });

  test("is woken when it is frozen, and killed after the grace when it ignores TERM", async () => {
    const ended = await endedRun(shell, hideFromTerm("while :; do /bin/sleep 0.05; done"));
    if (ended === undefined) return;
    const { table } = ended.tree;
    table.signal(ended.hidden.pid, "SIGSTOP");
    await until(() => {
      const sight = table.look(ended.hidden.pid);
      return sight.kind === "seen" && isFrozen(sight.row);
    });
    const result = await stop(ended, { stopGraceMs: 100 });
    expect(result).toMatchObject({ stopped: true });
    const signals = result.stopped ? result.proof.signals.filter(({ process }) => process.pid === ended.hidden.pid) : [];
    expect(signals.map(({ signal }) => signal)).toEqual(["SIGTERM", "SIGCONT", "SIGKILL"]);
  });
});

/** Some run on dash, because what is left alone does not depend on the shell. */
const onDash = async (script: string): Promise<EndedRun> => present(await endedRun("dash", script));
const atOnce = { stopGraceMs: 0 };
/** For what is not to be stopped: nobody waits for its end. */
const inVain = { stopGraceMs: 0, killGraceMs: 200 };

test("what is found by its pipe is sent TERM before KILL, however long the machine stalls in between", async () => {
  const ended = await onDash(hideFromTerm("while :; do /bin/sleep 0.05; done"));
  let stalledMs = 0;
  const stalls = {
    clock: { mono: () => clock.mono() + stalledMs },
    pause: async (ms: number, signal?: AbortSignal) => {
      stalledMs += 1_000;
      await timerPause(ms, signal);
    },
  };
  const result = await stop(ended, { ...stalls, stopGraceMs: 100, killGraceMs: 3_600_000 });
  const signals = result.stopped ? result.proof.signals.filter(({ process }) => process.pid === ended.hidden.pid) : [];
  expect(signals.map(({ signal }) => signal)).toEqual(["SIGTERM", "SIGKILL"]);
});

test("a stop that was broken off is taken up by the next, which finds the same process", async () => {
  const ended = await onDash(hideFromTerm("while :; do /bin/sleep 0.05; done"));
  const broken = new AbortController();
  const first = stop(ended, { signal: broken.signal, stopGraceMs: 60_000, pause: async () => broken.abort() });
  expect(await first).toMatchObject({ stopped: false });
  expect(isAlive(ended.tree, ended.hidden)).toBe(true);
  expect(await stop(ended, atOnce)).toMatchObject({ stopped: true, proof: { lifePipe: "released" } });
  expect(isAlive(ended.tree, ended.hidden)).toBe(false);
});

test("a process of another run, which holds that run's pipe alone, is not touched", async () => {
  const [ours, theirs] = [await onDash(hide("exec /bin/sleep 60")), await onDash(hide("exec /bin/sleep 60"))];
  expect(await stop(ours, atOnce)).toMatchObject({ stopped: true });
  expect(isAlive(theirs.tree, theirs.hidden)).toBe(true);
  expect(await probeLifePipe(theirs.run.runDir)).toBe("held");
});

test("what bears another run's marker is not touched, nor what it has started, and both are named", async () => {
  const marker = `${markerVariable}=999999:elsewhere`;
  const ended = await onDash(hide("env -i /bin/sleep 60 & wait", marker));
  const below = await until(() => ended.tree.table.list().find((row) => row.parentPid === ended.hidden.pid), { everyMs: 2 });
  killAtTheEnd(ended.tree, identityOf(ended.run.host, below));
  const result = await stop(ended, inVain);
  expect(result).toMatchObject({ stopped: false, survivors: [], signals: [] });
  expect(!result.stopped && result.remains).toContain(`pid ${ended.hidden.pid} (/bin/sh -c `);
  expect(!result.stopped && result.remains).toMatch(new RegExp(`pid ${below.pid} \\(.*\\), which are left alone`));
  expect(isAlive(ended.tree, ended.hidden)).toBe(true);
});

test("a registered process is not touched, nor what it has started", async () => {
  const ended = await onDash(hide("/bin/sleep 60 & wait"));
  const below = await until(() => ended.tree.table.list().find((row) => row.parentPid === ended.hidden.pid), { everyMs: 2 });
  killAtTheEnd(ended.tree, identityOf(ended.run.host, below));
  expect(await stop({ ...ended, tree: { ...ended.tree, shielded: [ended.hidden] } }, inVain)).toMatchObject({
    stopped: false,
    signals: [],
  });
  expect([isAlive(ended.tree, ended.hidden), isAlive(ended.tree, identityOf(ended.run.host, below))]).toEqual([true, true]);
});

test("a process that opened the pipe by itself, to read it, is not touched, and is named", async () => {
  const ended = await onDash(hide("exec /bin/sleep 60"));
  const reader = spawn("sh", ["-c", 'exec 3< "$1"; exec sleep 60', "sh", runFiles(ended.run.runDir).lifePipe], {
    env: { PATH: "/usr/bin:/bin" },
    stdio: "ignore",
  });
  await once(reader, "spawn");
  const sight = ended.tree.table.look(present(reader.pid));
  if (sight.kind !== "seen") throw new Error("the reader is gone");
  const identity = identityOf(ended.run.host, sight.row);
  killAtTheEnd(ended.tree, identity);
  const files = linuxOpenFiles();
  const pipe = present(files.identifyFifo(runFiles(ended.run.runDir).lifePipe));
  await until(() => files.gripOf(identity.pid, pipe, "alive") === "reading", { everyMs: 2 });
  expect(files.gripOf(ended.hidden.pid, pipe, "alive")).toBe("both");
  // Time passes only once the hidden process is gone, and in steps, so that what the reader alone holds is looked at before it is over.
  let passedMs = 0;
  const mono = (): number => (isAlive(ended.tree, ended.hidden) ? passedMs : (passedMs += 20));
  const result = await stop(ended, { ...inVain, clock: { mono } });
  expect(isAlive(ended.tree, ended.hidden)).toBe(false);
  expect(!result.stopped && result.remains).toContain(`pid ${identity.pid} (sleep 60), which is left alone`);
  expect(isAlive(ended.tree, identity)).toBe(true);
});

test("a process older than the run cannot have inherited its pipe", async () => {
  const ended = await onDash(hide("exec /bin/sleep 60"));
  const wrapper = { ...ended.run.wrapper.identity, startTime: String(Number(ended.hidden.startTime) + 1) };
  expect(await stop({ ...ended, tree: { ...ended.tree, wrapper } }, inVain)).toMatchObject({ stopped: false, signals: [] });
  expect(isAlive(ended.tree, ended.hidden)).toBe(true);
});

test("open files that may not be seen are said to be so, with the processes that may be it", async () => {
  const ended = await onDash(hide("exec /bin/sleep 60"));
  const files: OpenFiles = { ...linuxOpenFiles(), gripOf: (pid) => (pid === ended.hidden.pid ? "unseen" : "none") };
  const result = await stop(ended, { ...inVain, files });
  expect(result).toMatchObject({ stopped: false, signals: [], survivors: [] });
  expect(!result.stopped && result.remains).toContain(`maybe pid ${ended.hidden.pid} (/bin/sleep 60); \`fuser -v`);
  expect(isAlive(ended.tree, ended.hidden)).toBe(true);
});

test("nobody looks into open files while a cheaper sign is left", async () => {
  const tools = present(await toolsOf("dash"));
  const run = await commandRun({ tools, argv: ["sh", "-c", "exec sleep 60"] });
  const command = await run.command();
  const files: OpenFiles = {
    ...linuxOpenFiles(),
    gripOf: () => {
      throw new Error("nobody asked for that");
    },
  };
  expect(await stopTree({ ...run.tree, command }, { clock, runDir: run.runDir, files, ...patient })).toMatchObject({ stopped: true });
});
