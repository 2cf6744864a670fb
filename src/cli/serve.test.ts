import { expect, test } from "vitest";
import { cli, fakeServing } from "../../test/support/cli-call.ts";
import { tempDir } from "../../test/support/temp-dir.ts";

test.each([["up"], ["up", "--json"]])("%s %s: whoever is told that the daemon listens may stop it in the same instant", async (...argv) => {
  const listeners = new Map<string, () => void>();
  const modes: string[] = [];
  const told = (text: string): void => {
    if (text.includes("127.0.0.1:1")) listeners.get("SIGTERM")?.();
  };
  const { code } = await cli(argv, {
    cwd: tempDir("serve"),
    host: {
      startDaemon: async () => ({
        url: "http://127.0.0.1:1",
        socketPath: null,
        stop: async (mode) => {
          modes.push(mode);
          return { late: [], failed: [] };
        },
        kill: async () => undefined,
      }),
      onSignal: (signal, listener) => {
        listeners.set(signal, listener);
        return () => listeners.delete(signal);
      },
      output: { out: told, err: told, colour: false },
    },
  });
  expect([code, modes]).toEqual([0, ["leave"]]);
});

test("a signal that arrives while the daemon starts stops it once it has started; a second one is left to the system", async () => {
  const listeners = new Map<string, () => void>();
  const modes: string[] = [];
  const { code, err } = await cli(["up"], {
    cwd: tempDir("serve"),
    host: {
      startDaemon: async () => {
        listeners.get("SIGINT")?.();
        expect(listeners.size).toBe(0);
        return {
          url: "http://127.0.0.1:1",
          socketPath: null,
          stop: async (mode) => {
            modes.push(mode);
            return { late: [], failed: [] };
          },
          kill: async () => undefined,
        };
      },
      onSignal: (signal, listener) => {
        listeners.set(signal, listener);
        return () => listeners.delete(signal);
      },
    },
  });
  expect([code, modes]).toEqual([0, ["interrupt"]]);
  expect(err).toContain("as soon as the start is over");
});

test.each([
  ["SIGTERM", [], "leave"],
  ["SIGHUP", [], "leave"],
  ["SIGTERM", ["--drain"], "drain"],
  ["SIGINT", [], "interrupt"],
] as const)("%s with %j stops the daemon in the way %s", async (signal, flags, mode) => {
  const serving = fakeServing();
  const running = cli(["up", ...flags], { cwd: tempDir("cli"), host: serving.host });
  await serving.started;
  serving.send(signal);
  expect([(await running).code, serving.stopped]).toEqual([0, [mode]]);
});

test("a stop that left a step behind names it and exits with a code of its own", async () => {
  const serving = fakeServing({ late: ["close the API"], failed: ["say goodbye: the connection is gone"] });
  const running = cli(["up"], { cwd: tempDir("cli"), host: serving.host });
  await serving.started;
  serving.send("SIGTERM");
  const { code, err } = await running;
  expect(code).toBe(9);
  expect(err).toMatch(/without waiting any longer for this step: close the API[\s\S]*say goodbye: the connection is gone/);
});

test.each([
  ["a second INT kills what is being stopped, and leaves then", ["SIGINT", "SIGINT"], { killEnds: true }, ["interrupt", "kill"]],
  ["a third INT leaves at once, whatever is left", ["SIGINT", "SIGINT", "SIGINT"], { killEnds: false }, ["interrupt", "kill"]],
  ["an INT after TERM leaves at once, and what TERM left alive lives on", ["SIGTERM", "SIGINT"], { killEnds: false }, ["leave"]],
] as const)("%s", async (_, signals, { killEnds }, asked) => {
  const serving = fakeServing();
  const seen: string[] = [];
  const never = () => new Promise<never>(() => undefined);
  const startDaemon = async () => ({
    url: "http://x",
    socketPath: null,
    stop: (mode: string) => (seen.push(mode), never()),
    kill: () => (seen.push("kill"), killEnds ? Promise.resolve() : never()),
  });
  const running = cli(["up"], { cwd: tempDir("cli"), host: { ...serving.host, startDaemon } });
  await serving.started;
  for (const signal of signals) serving.send(signal);
  expect([(await running).code, seen]).toEqual([130, asked]);
});
