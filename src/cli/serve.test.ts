import { expect, test } from "vitest";
import { cli } from "../../test/support/cli-call.ts";
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
