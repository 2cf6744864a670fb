import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { onTestFinished } from "vitest";
import { executableBuild } from "../../scripts/executables.ts";
import { repositoryRoot } from "../../scripts/source-tree.ts";
import { makeTempDir } from "./temp-dir-maker.ts";

/** Bundles the command line as a release has it. Call it once per file, in `beforeAll`; `remove` in `afterAll`. */
export async function bundleWakeful(): Promise<{ readonly program: string; readonly remove: () => void }> {
  const { path, remove } = makeTempDir("wakeful-program");
  await build({ ...executableBuild, outdir: path, logLevel: "silent" });
  writeFileSync(join(path, "package.json"), '{ "type": "module" }');
  // Packages that the bundle leaves out load from the installed ones.
  symlinkSync(join(repositoryRoot, "node_modules"), join(path, "node_modules"));
  return { program: join(path, "wakeful.js"), remove };
}

export interface WakefulProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly out: () => string;
  readonly err: () => string;
  /** Its exit code, or the name of the signal that ended it, once all that it said has been read. */
  readonly ended: Promise<number | NodeJS.Signals>;
}

/**
 * The command line in a process of its own; killed when the test ends.
 * @param under - a program, with its arguments, that executes it.
 */
export function startWakeful(
  program: string,
  argv: readonly string[],
  { cwd, uid, under = [] }: { readonly cwd: string; readonly uid?: number; readonly under?: readonly string[] },
): WakefulProcess {
  const [command = process.execPath, ...args] = [...under, process.execPath, program, ...argv];
  const child = spawn(command, args, {
    cwd,
    env: { PATH: process.env["PATH"], HOME: cwd },
    stdio: ["ignore", "pipe", "pipe"],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  const ended = once(child, "close").then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  onTestFinished(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await ended;
  });
  if (child.pid === undefined) throw new Error("wakeful could not be started");
  return { child, pid: child.pid, out: () => out, err: () => err, ended };
}
