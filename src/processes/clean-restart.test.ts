import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { tempDir } from "../../test/support/temp-dir.ts";
import { until } from "../../test/support/until.ts";
import { restartClean } from "./clean-restart.ts";

/** A restart of a program that tells of itself in a file, in a process whose parent and signals a test plays. */
function restart(script: string, env: Record<string, string> = {}) {
  const file = join(tempDir("restart"), "told.json");
  const tell = `require("fs").writeFileSync(${JSON.stringify(`${file}.new`)}, JSON.stringify({ pid: process.pid, env: process.env }));
    require("fs").renameSync(${JSON.stringify(`${file}.new`)}, ${JSON.stringify(file)});`;
  onTestFinished(() => {
    if (!existsSync(file)) return;
    const { pid } = JSON.parse(readFileSync(file, "utf8")) as { pid: number };
    if (processLives(pid)) process.kill(pid, "SIGKILL");
  });
  const listeners = new Map<string, () => void>();
  let parent = 100;
  const ended = restartClean({
    argv: [process.execPath, "-e", `${script}; ${tell}`],
    env: { PATH: process.env["PATH"], ...env },
    onSignal: (signal, listener) => {
      listeners.set(signal, listener);
      return () => void listeners.delete(signal);
    },
    parentPid: () => parent,
  });
  return {
    ended,
    listeners,
    orphan: () => (parent = 1),
    told: () =>
      until(() => (existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as { pid: number; env: NodeJS.ProcessEnv }) : undefined), {
        what: "the program to run",
      }),
  };
}

function processLives(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    // No such process.
    return false;
  }
}

const forever = "setInterval(() => {}, 1000)";

test("the copy bears nothing of the run, keeps all else, and its exit code is passed on", async () => {
  const { ended, told, listeners } = restart("process.exitCode = 7", {
    WAKEFUL_RUN_MARKER: "7:h",
    WAKEFUL_TOKEN: "secret",
    TRACEPARENT: "00-1",
    LANG: "C",
  });
  const { env } = await told();
  expect([env["WAKEFUL_RUN_MARKER"], env["WAKEFUL_TOKEN"], env["TRACEPARENT"], env["LANG"]]).toEqual([
    undefined,
    undefined,
    undefined,
    "C",
  ]);
  expect(await ended).toBe(7);
  expect(listeners.size).toBe(0);
});

test("a signal is passed on, and a death by one is told as a shell would", async () => {
  const { ended, told, listeners } = restart(forever);
  await told();
  listeners.get("SIGTERM")?.();
  expect(await ended).toBe(128 + 15);
  const polite = restart(`process.on("SIGINT", () => process.exit(5)); ${forever}`);
  await polite.told();
  polite.listeners.get("SIGINT")?.();
  expect(await polite.ended).toBe(5);
});

test("once the job has gone that started it, a signal ends this process alone: the copy lives on", async () => {
  const { ended, told, listeners, orphan } = restart(forever);
  const { pid } = await told();
  orphan();
  listeners.get("SIGTERM")?.();
  expect(await ended).toBe(0);
  expect(processLives(pid)).toBe(true);
  expect(listeners.size).toBe(0);
});

test("a program that cannot be started is an error, not an exit code", async () => {
  const nothing = restartClean({ argv: ["/no/such/program"], env: {}, onSignal: () => () => undefined, parentPid: () => 1 });
  await expect(nothing).rejects.toMatchObject({ code: "ENOENT" });
});
