import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { build } from "esbuild";
import { onTestFinished } from "vitest";
import { makeTempDir } from "./temp-dir-maker.ts";

/** Bundles the command line as a release has it. Call it once per file, in `beforeAll`; `remove` in `afterAll`. */
export async function bundleWakeful(): Promise<{ readonly program: string; readonly remove: () => void }> {
  const { path, remove } = makeTempDir("wakeful-program");
  await build({
    absWorkingDir: join(import.meta.dirname, "../.."),
    entryPoints: ["src/bin/wakeful.ts"],
    outdir: path,
    outbase: "src",
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20.19",
    outExtension: { ".js": ".mjs" },
    external: ["@photostructure/sqlite", "pg", "pg-native", "pino", "@opentelemetry/api"],
    banner: {
      js: 'import { createRequire as wakefulCreateRequire } from "node:module"; const require = wakefulCreateRequire(import.meta.url);',
    },
    logLevel: "silent",
  });
  return { program: join(path, "bin/wakeful.mjs"), remove };
}

export interface WakefulProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly out: () => string;
  readonly err: () => string;
  /** Its exit code, or the name of the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
}

/** The command line in a process of its own; killed when the test ends. */
export function startWakeful(program: string, argv: readonly string[], { cwd }: { readonly cwd: string }): WakefulProcess {
  const child = spawn(process.execPath, [program, ...argv], {
    cwd,
    env: { PATH: process.env["PATH"], HOME: cwd },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  const ended = once(child, "exit").then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  onTestFinished(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await ended;
  });
  if (child.pid === undefined) throw new Error("wakeful could not be started");
  return { child, pid: child.pid, out: () => out, err: () => err, ended };
}
