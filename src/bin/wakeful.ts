#!/usr/bin/env node
import { userInfo } from "node:os";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { CliHost } from "../cli/host.ts";
import { runCli } from "../cli/program.ts";
import { version } from "../domain/version.ts";
import { systemClock } from "../runtime/clock.ts";
import { environment } from "../runtime/environment.ts";

const env = environment();

const host: CliHost = {
  cwd: process.cwd(),
  env,
  clock: systemClock(),
  output: {
    out: (text) => void process.stdout.write(text),
    err: (line) => void process.stderr.write(`${line}\n`),
    colour: process.stdout.isTTY && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb",
  },
  user: userName(),
  version,
  startDaemon: async (configuration) =>
    (await import("../main.ts")).startDaemon({ configuration, environment: env, handlerHost: handlerHost() }),
  runCommand: async (request) =>
    (await import("../cli/foreground.ts")).runInForeground({ request, host, pid: process.pid, interactive: process.stdin.isTTY }),
  onSignal: (signal, listener) => {
    process.on(signal, listener);
    return () => void process.off(signal, listener);
  },
};

// Whoever read along has gone (`wakeful ls | head`): there is nobody left to tell.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

// An impatient INT must end the process though the daemon still holds handles open; output to terminals, files and pipes is written by now.
process.exit(await runCli({ argv: process.argv.slice(2), host }));

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // A container may run under a user id that has no name.
    return `uid-${process.getuid?.() ?? "unknown"}`;
  }
}

/** The program beside this one: built, or as source under the loader that runs us. */
function handlerHost(): readonly [string, ...string[]] {
  const here = fileURLToPath(import.meta.url);
  return [process.execPath, ...process.execArgv, join(dirname(here), `handler-host${extname(here)}`)];
}
