import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { checkInit } from "../../src/cli/doctor/daemon-checks.ts";
import { api } from "../../src/protocol/api/index.ts";
import { readyDaemon } from "../support/ready-daemon.ts";
import { skipTest } from "../support/skips.ts";
import { tempDir } from "../support/temp-dir.ts";
import { bundleWakeful } from "../support/wakeful-program.ts";

let program: string;
let remove: () => void;
beforeAll(async () => {
  ({ program, remove } = await bundleWakeful());
});
afterAll(() => remove());

const inContainer = ["--pid", "--fork", "--mount-proc", "--kill-child"] as const;

test("a daemon that is the first process of its container asks for an init, in its log and in doctor [F-2.8]", async (context) => {
  try {
    execFileSync("unshare", [...inContainer, "true"], { stdio: "ignore" });
  } catch {
    skipTest(context, "no pid namespace can be made here");
  }
  const folder = tempDir("init");
  writeFileSync(join(folder, "wakeful.yaml"), "http: { listen: 127.0.0.1:0 }\n");
  const child = spawn("unshare", [...inContainer, process.execPath, program, "up"], {
    cwd: folder,
    env: { PATH: process.env["PATH"], HOME: folder },
    stdio: ["ignore", "pipe", "ignore"],
  });
  let log = "";
  child.stdout.on("data", (chunk: Buffer) => (log += chunk.toString()));
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await once(child, "close");
  });
  const client = await readyDaemon(join(folder, "data"));
  expect(log).toContain("daemon.without_init");
  expect(log).toContain("docker run --init");
  const { pid } = await client.call(api.getDaemon, {});
  expect(checkInit(pid)).toMatchObject([{ check: "init", level: "warning", remedy: expect.stringContaining("--init") as string }]);
  expect(checkInit(4711)).toEqual([]);
});
