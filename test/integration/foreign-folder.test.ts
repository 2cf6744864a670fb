import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { tempDir } from "../support/temp-dir.ts";

const program = fileURLToPath(new URL("../../src/bin/wakeful.ts", import.meta.url));
/** By its place, because the program is called in another folder. */
const tsx = createRequire(import.meta.url).resolve("tsx");
const nobody = 65534;
const other = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {};

/** A project whose data directory, with a store in it, may not be entered by the user under whom {@link call} runs. */
function shutProject(): string {
  const cwd = tempDir("shut");
  chmodSync(cwd, 0o755);
  const dataDir = join(cwd, "data");
  mkdirSync(dataDir);
  writeFileSync(join(dataDir, "wakeful.db"), "");
  writeFileSync(join(cwd, "wakeful.yaml"), 'http: { listen: "127.0.0.1:0" }\n');
  if (other.uid === undefined) chmodSync(dataDir, 0);
  else {
    chmodSync(dataDir, 0o700);
    chownSync(dataDir, 1, 1);
  }
  onTestFinished(() => chmodSync(dataDir, 0o700));
  return cwd;
}

async function call(cwd: string, argv: readonly string[]): Promise<{ readonly code: number | null; readonly said: string }> {
  const child = spawn(process.execPath, ["--import", tsx, program, ...argv], { cwd, env: { PATH: process.env["PATH"] }, ...other });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (said += chunk.toString()));
  onTestFinished(() => void child.kill("SIGKILL"));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, said };
}

test("a store in a folder that may not be entered is not called missing", async () => {
  const { code, said } = await call(shutProject(), ["ls"]);
  expect([code, said]).toEqual([6, expect.stringContaining("you may not look into it (EACCES)")]);
  expect(said).not.toContain("nothing has been started");
});

test("the doctor tells of a folder that may not be entered, and goes on with its other checks", async () => {
  const { code, said } = await call(shutProject(), ["doctor"]);
  expect([code, said]).toEqual([3, expect.stringContaining("ballast: it cannot be looked at: EACCES")]);
  expect(said).toContain("Call as the user who started the daemon");
});
