import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { makeFifo } from "../support/fifo.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";
import { bundleWakeful, startWakeful } from "../support/wakeful-program.ts";

let program: string;
let remove: () => void;
beforeAll(async () => {
  ({ program, remove } = await bundleWakeful());
});
afterAll(() => remove());

test("a call to the file system that never returns does not keep a stopped daemon from ending", async () => {
  const folder = tempDir("stop");
  writeFileSync(join(folder, "wakeful.yaml"), "http: { listen: 127.0.0.1:0 }\n");
  // As with a dead file server: nobody opens the other end, so the thread that opens this one never returns.
  makeFifo(join(folder, "hung"));
  writeFileSync(
    join(folder, "hang.mjs"),
    `import { open } from "node:fs"; open(${JSON.stringify(join(folder, "hung"))}, "r", () => {});\n`,
  );
  const child = spawn(process.execPath, ["--import", join(folder, "hang.mjs"), program, "up"], {
    cwd: folder,
    env: { PATH: process.env["PATH"] },
    stdio: ["ignore", "ignore", "pipe"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  await until(() => said.includes("listens on"), { what: "the daemon to be up" });
  // Not `exit`, which may come before the last output.
  const ended = once(child, "close");
  child.kill("SIGTERM");
  await until(() => child.exitCode !== null || child.signalCode !== null, { what: "the daemon to end" });
  expect(await ended).toEqual([null, "SIGTERM"]);
  expect(said).toContain("does not return");
});

test("a daemon whose program was replaced on disk while it ran stops in order", async () => {
  const folder = tempDir("stop");
  writeFileSync(join(folder, "wakeful.yaml"), "http: { listen: 127.0.0.1:0 }\n");
  const installed = join(folder, "installed");
  cpSync(dirname(program), installed, { recursive: true, verbatimSymlinks: true });
  const daemon = startWakeful(join(installed, basename(program)), ["up"], { cwd: folder });
  await until(() => daemon.err().includes("listens on"), { what: "the daemon to be up" });
  rmSync(installed, { recursive: true });
  daemon.child.kill("SIGTERM");
  expect([await daemon.ended, daemon.out()]).toEqual([0, expect.stringMatching(/daemon\.stopped.*failed=\[\]/)]);
});
