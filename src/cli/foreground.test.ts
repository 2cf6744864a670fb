import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../test/support/temp-dir.ts";
import type { Client } from "../protocol/client.ts";
import { FakeClock } from "../runtime/fake-clock.ts";
import { runInForeground } from "./foreground.ts";
import type { RunCommandRequest } from "./host.ts";

/** A call of `wakeful run`, and what it tells its caller. */
function calling(request: Pick<RunCommandRequest, "argv"> & Partial<RunCommandRequest>) {
  const told: string[] = [];
  const code = runInForeground({
    request: { lease: undefined, daemon: undefined, ...request },
    host: {
      cwd: tempDir("run"),
      env: { PATH: process.env["PATH"] },
      clock: new FakeClock(),
      output: { out: () => undefined, err: (line) => void told.push(line), colour: false },
      onSignal: () => () => undefined,
    },
    pid: process.pid,
    interactive: false,
  });
  return { code, told };
}

const silent = new Proxy({} as Client, {
  get: () => {
    throw new Error("nothing may be asked");
  },
});

test("without a daemon the command runs all the same, which is said, and its exit code is passed on", async () => {
  const { code, told } = calling({ argv: ["sh", "-c", "exit 7"] });
  expect(await code).toBe(7);
  expect(told).toEqual(["wakeful: no daemon answers; the command runs all the same, and nothing records it"]);
});

test("a daemon whose data directory cannot be used from here is told by that path, and nothing is run", async () => {
  const dataDir = join(tempDir("daemon"), "elsewhere");
  const made = join(tempDir("made"), "file");
  const { code } = calling({ argv: ["touch", made], daemon: { client: silent, dataDir } });
  await expect(code).rejects.toMatchObject({ code: "bad_request", message: expect.stringContaining(dataDir), details: { dataDir } });
  const { code: again } = calling({ argv: ["test", "!", "-e", made] });
  expect(await again).toBe(0);
});
