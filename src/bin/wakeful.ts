#!/usr/bin/env node
import "./ignored-signals.ts";
import { userInfo } from "node:os";
import { dirname, extname, join } from "node:path";
import { isatty } from "node:tty";
import { fileURLToPath } from "node:url";
import type { CliHost } from "../cli/host.ts";
import { runCli } from "../cli/program.ts";
import { version } from "../domain/version.ts";
import { systemClock } from "../runtime/clock.ts";
import { environment } from "../runtime/environment.ts";
import { keepOwnFilesPrivate } from "../runtime/umask.ts";
import { onIgnoredSignal } from "./ignored-signals.ts";
import { leave } from "./leave.ts";
import { patientOutput, plainOutput } from "./output.ts";

const env = environment();
const argv = process.argv.slice(2);

// A daemon serves others, and `run` outlives this shell: neither may count as part of the job that started it.
if ((argv[0] === "up" || argv[0] === "run") && env["WAKEFUL_RUN_MARKER"] !== undefined) await restartOutsideJob();
if (argv[0] === "up") keepOwnFilesPrivate();

const clock = systemClock();
// What holds work waits for no reader of its words.
const output = argv[0] === "up" || argv[0] === "run" ? patientOutput(() => clock.mono()) : plainOutput();

const host: CliHost = {
  cwd: process.cwd(),
  env,
  clock,
  output: {
    out: (text) => output.out(text),
    err: (line) => output.err(`${line}\n`),
    colour: isatty(1) && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb",
  },
  user: userName(),
  version,
  startDaemon: async (configuration, { takeDataDir }) =>
    (await import("../main.ts")).startDaemon({
      configuration,
      environment: env,
      output: { log: (line) => output.out(line), handlers: (text) => output.err(text), onDropped: (tell) => output.onDropped(tell) },
      handlerHost: programBeside("handler-host"),
      pathHelper: programBeside("path-helper"),
      takeDataDir,
    }),
  runCommand: async (request) =>
    (await import("../cli/foreground.ts")).runInForeground({ request, host, pid: process.pid, interactive: process.stdin.isTTY }),
  onSignal,
};

onIgnoredSignal((signal) => host.output.err(`${signal} does nothing here. TERM stops a daemon.`));

// A second INT must end the process though the daemon still holds handles open.
await leave(await runCli({ argv, host }), output);

async function restartOutsideJob(): Promise<void> {
  const { ownMarker } = await import("../processes/run-folder/run-marker.ts");
  if (ownMarker(env) === undefined) return;
  const { restartClean } = await import("../processes/clean-restart.ts");
  const [program = process.execPath, ...rest] = process.argv;
  process.exit(await restartClean({ argv: [program, ...process.execArgv, ...rest], env, onSignal, parentPid: () => process.ppid }));
}

function onSignal(signal: NodeJS.Signals, listener: () => void): () => void {
  process.on(signal, listener);
  return () => void process.off(signal, listener);
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // A container may run under a user id that has no name.
    return `uid-${process.getuid?.() ?? "unknown"}`;
  }
}

/** A program beside this one: built, or as source under the loader that runs us. */
function programBeside(name: string): readonly [string, ...string[]] {
  const here = fileURLToPath(import.meta.url);
  return [process.execPath, ...process.execArgv, join(dirname(here), `${name}${extname(here)}`)];
}
