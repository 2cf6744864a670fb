import { type ChildProcess, spawn } from "node:child_process";
import { access, constants, type FileHandle, mkdir, open, stat, writeFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { codeOf, hasCode, messageOf } from "../../domain/errors.ts";
import type { RunId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { PathAccess, PathOperation } from "../../files/foreign/path-operation.ts";
import { InvalidCommandError, RunDirectoryExistsError, WrapperStartError } from "../errors.ts";
import type { HostIdentity, ProcessIdentity } from "../probe/identity.ts";
import { blankExitRecord } from "../run-folder/exit-record.ts";
import { parseIdentityRecord, readStart, runFiles } from "../run-folder/run-files.ts";
import { commandText, enterText, wrapperText } from "./wrapper-text.ts";
import type { WrapperTools } from "./wrapper-tools.ts";

/** What a command finds when it starts, beside its environment. */
export interface CommandSurroundings {
  /** `input`: the command reads the input file as its standard input too. Default: it reads nothing, and meets the end at once. */
  readonly stdin?: "input" | undefined;
  /** The permissions that files of the command do not get, such as 0o022. Default: those of this process. */
  readonly umask?: number | undefined;
  readonly limits?: CommandLimits | undefined;
  /** A change to `cwd` may never return: only the wrapper's own process makes it, not this one. Default false. */
  readonly cwdIsForeign?: boolean | undefined;
}

/** Room for what the wrapper's shell says, so that a full disk does not silence it. */
const blankShellLog = " ".repeat(512);

export interface SpawnWrapperOptions {
  /** `runs/<id>`, absolute. Its parent must exist, it must not. */
  readonly runDir: string;
  readonly runId: RunId;
  readonly host: HostIdentity;
  readonly tools: WrapperTools;
  /** The program (a path, or a name in `env.PATH`) and its arguments, byte for byte. */
  readonly argv: readonly string[];
  /** The command's whole environment: `commandEnvironment` makes it. */
  readonly env: Readonly<Record<string, string>>;
  /** The command's work directory; must exist. */
  readonly cwd: string;
  /** JSON text: the content of the command's input file, which ends with a line end. */
  readonly input: string;
  readonly surroundings?: CommandSurroundings | undefined;
  /** How long the wrapper may take until it waits for `go`. Default 10 000. */
  readonly readyTimeoutMs?: DurationMs;
}

/** How the wrapper process ended: a hint that the exit record is there. Only the record says what happened. */
export interface WrapperEnd {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A wrapper that has recorded itself, holds the life pipe and waits. Nothing of the command has run. */
export interface StartedWrapper {
  readonly identity: ProcessIdentity;
  /** Lets the command start; call it once the identity is committed. No effect after `go` or `abandon`. */
  go(): void;
  /** Withdraws: the wrapper records `nogo` and ends, as it does when its starter dies. No effect after `go`. */
  abandon(): void;
  /** Resolves when the wrapper has ended; never rejects. Keeps no process alive. */
  readonly exited: Promise<WrapperEnd>;
}

async function makeRunDirectory(runDir: string): Promise<void> {
  try {
    await mkdir(runDir, { mode: 0o700 });
  } catch (error) {
    if (hasCode(error, "EEXIST")) throw new RunDirectoryExistsError(runDir, { cause: error });
    const step = "run_folder";
    throw new WrapperStartError(`Cannot make the run directory ${runDir}: ${messageOf(error)}`, {
      cause: error,
      step,
      details: { runDir },
    });
  }
}

/** Makes input, blanks for the records of its end, and logs. Logs are O_APPEND, so that the supervisor may shorten them while they are written. */
async function prepareFiles(runDir: string, input: string): Promise<readonly [FileHandle, FileHandle]> {
  const files = runFiles(runDir);
  const written = Promise.all([
    writeFile(files.input, `${input}\n`, { mode: 0o600, flag: "wx" }),
    writeFile(files.exitDraft, blankExitRecord, { mode: 0o600, flag: "wx" }),
    writeFile(files.endedBy, blankExitRecord, { mode: 0o600, flag: "wx" }),
    writeFile(files.shellSaid, blankShellLog, { mode: 0o600, flag: "wx" }),
  ]);
  // It may fail before the logs are open, when nobody listens yet.
  written.catch(() => undefined);
  const logs = await Promise.allSettled([open(files.stdoutLog, "a", 0o600), open(files.stderrLog, "a", 0o600)]);
  const [out, err] = logs.map((log) => (log.status === "fulfilled" ? log.value : undefined));
  try {
    await written;
    for (const log of logs) if (log.status === "rejected") throw log.reason;
    if (out === undefined || err === undefined) throw new Error("the logs were not opened");
    return [out, err];
  } catch (error) {
    await Promise.all([out?.close(), err?.close()]);
    const step = "run_folder";
    throw new WrapperStartError(`Cannot prepare the run directory ${runDir}: ${messageOf(error)}`, {
      cause: error,
      step,
      details: { runDir },
    });
  }
}

/** Resolves to the line by which the wrapper reports that it is ready. Rejects when it ends, or writes nothing in time. */
function readyLine(control: Socket, exited: Promise<WrapperEnd>, timeoutMs: DurationMs): Promise<string> {
  const line = new Promise<string>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`it was not ready within ${timeoutMs} ms`)), timeoutMs);
    control.once("close", () => clearTimeout(timer));
    let text = "";
    control.setEncoding("latin1");
    control.on("data", (chunk: string) => {
      text += chunk;
      if (!text.includes("\n")) return;
      clearTimeout(timer);
      resolve(text);
    });
  });
  const early = exited.then((end): never => {
    throw new Error(`it ended early with ${end.signal ?? `exit code ${end.exitCode}`}`);
  });
  return Promise.race([line, early]);
}

/** The shell's own messages from before the command started. */
async function whatTheShellSaid(runDir: string): Promise<string> {
  try {
    return ((await readStart(runFiles(runDir).stderrLog, 500))?.text ?? "").trim();
  } catch (error) {
    return `(its stderr cannot be read: ${messageOf(error)})`;
  }
}

function endOf(child: ChildProcess): Promise<WrapperEnd> {
  return new Promise((resolve) => {
    child.once("exit", (exitCode, signal) => resolve({ exitCode, signal }));
    // A program that cannot be executed emits no `exit`, only this.
    child.once("error", () => resolve({ exitCode: null, signal: null }));
  });
}

/**
 * Starts the wrapper of one command, detached and in a session of its own, so that both outlive this process. Makes `runDir`. Resolves once
 * the wrapper waits for `go`. After an error nothing of the command has run or will.
 *
 * @throws {RunDirectoryExistsError} `run_dir_exists`: raise the store epoch.
 * @throws {InvalidCommandError} `bad_request`: no process can be given this command.
 * @throws {WrapperStartError} `wrapper_failed`: anything else.
 */
export async function spawnWrapper(options: SpawnWrapperOptions): Promise<StartedWrapper> {
  const { runDir, runId, host, tools, argv, env, cwd, readyTimeoutMs = 10_000 } = options;
  checkCommand(argv, env);
  const limits = limitParameters(options.surroundings?.limits ?? {}, tools);
  const { stdin, umask, cwdIsForeign = false } = options.surroundings ?? {};
  const surroundings = [stdin === "input" ? runFiles(runDir).input : "/dev/null", umask?.toString(8) ?? ""];
  await makeRunDirectory(runDir);
  const logs = await prepareFiles(runDir, options.input);

  const programs = [tools.shell, commandText, tools.setsid ?? "", tools.mkfifo, tools.sync, tools.mv];
  const place = [runDir, String(runId), host.bootId, host.pidNamespace, host.hostId];
  let child: ChildProcess;
  let failure: Promise<Error>;
  let exited: Promise<WrapperEnd>;
  let logsClosed: Promise<unknown>;
  try {
    const wrapper = ["-c", wrapperText, "wakeful", ...place, ...limits, ...surroundings, ...programs, ...argv];
    // A spawn returns when the child has changed its directory and become its program: the daemon would wait in it.
    const there = cwdIsForeign ? ["-c", enterText, "wakeful", cwd, tools.shell, ...wrapper] : wrapper;
    child = spawn(tools.shell, there, {
      cwd: cwdIsForeign ? "/" : cwd,
      env,
      detached: true,
      stdio: ["ignore", logs[0].fd, logs[1].fd, "pipe"],
    });
    // Attached before anything is awaited: a failed start emits in the very next tick.
    failure = new Promise((resolve) => child.once("error", resolve));
    exited = endOf(child);
  } catch (error) {
    throw new WrapperStartError(`Cannot start a wrapper with ${tools.shell}: ${messageOf(error)}`, { cause: error, details: { runDir } });
  } finally {
    logsClosed = Promise.all(logs.map((log) => log.close()));
  }
  const control = child.stdio[3] as Socket;
  // A killed wrapper shows in its end and its records, not in a broken socket.
  control.on("error", () => control.destroy());
  child.unref();

  try {
    if (child.pid === undefined) throw await failure;
    const [ready] = await Promise.all([readyLine(control, exited, readyTimeoutMs), logsClosed]);
    const identity = parseIdentityRecord(ready, runId);
    if (identity === undefined) throw new Error("it did not say who it is");
    // From here neither the wrapper nor its socket keeps this process alive.
    control.unref();
    let settled = false;
    const finish = (message: string): void => {
      if (settled) return;
      settled = true;
      control.end(message);
    };
    return { identity, go: () => finish("go\n"), abandon: () => finish(""), exited };
  } catch (error) {
    // The closed socket tells a wrapper that may still come up that no `go` will follow.
    control.destroy();
    // It may stand in the change of its directory for ever. Nothing of the command has run.
    if (cwdIsForeign) child.kill("SIGKILL");
    throw await startError(options, error);
  }
}

async function startError({ runDir, cwd, surroundings }: SpawnWrapperOptions, error: unknown): Promise<WrapperStartError> {
  const details = { runDir, cwd };
  // The kernel reports "no such file" for a missing work directory and for a missing shell alike.
  const inTheWay = surroundings?.cwdIsForeign === true ? undefined : await lookAtWorkDirectory.run(cwd, () => undefined);
  if (inTheWay !== undefined) return unusable(inTheWay, details);
  const said = await whatTheShellSaid(runDir);
  return new WrapperStartError(`The wrapper of ${runDir} did not start: ${messageOf(error)}${said === "" ? "" : ` (${said})`}`, {
    cause: error,
    details,
  });
}

interface UnusableFolder {
  readonly text: string;
  /** The kernel's name of the error. */
  readonly code: string | undefined;
}

/** Why a command cannot work in this folder; undefined: it can, as far as a look at it tells. */
export const lookAtWorkDirectory: PathOperation<string, UnusableFolder | undefined> = {
  name: "look-at-work-directory",
  run: async (cwd) => {
    try {
      if (!(await stat(cwd)).isDirectory()) return { text: `The work directory ${cwd} is no directory.`, code: "ENOTDIR" };
      await access(cwd, constants.X_OK);
      return undefined;
    } catch (error) {
      const text = hasCode(error, "ENOENT")
        ? `The work directory ${cwd} does not exist.`
        : `The work directory ${cwd} cannot be entered: ${messageOf(error)}`;
      return { text, code: codeOf(error) };
    }
  },
};

/** @throws {WrapperStartError} The folder cannot be used. `path_unanswered`: it does not answer. */
export async function checkWorkDirectory(cwd: string, pathAccess: PathAccess): Promise<void> {
  const inTheWay = await pathAccess.do(lookAtWorkDirectory, cwd, { paths: [cwd] });
  if (inTheWay !== undefined) throw unusable(inTheWay, { cwd });
}

const unusable = ({ text, code }: UnusableFolder, details: Readonly<Record<string, unknown>>): WrapperStartError =>
  new WrapperStartError(text, { cause: code === undefined ? undefined : withCode(code), step: "cwd", details });

const withCode = (code: string): Error => Object.assign(new Error(code), { code });

/** What the kernel limits a command to, inherited by what it starts. Each is optional; absent: the worker's own limit. */
interface CommandLimits {
  /** Address space of each process, in bytes; at least 1 MiB. */
  readonly memoryBytes?: number;
  /** CPU time of each process, in seconds; at its end the kernel sends SIGXCPU. At least 1. */
  readonly cpuSeconds?: number;
  /** Added to the worker's niceness: 0 to 19; below 0 only as root. */
  readonly nice?: number;
  /** Open files of each process; at least 16. */
  readonly openFiles?: number;
}

function bounded(name: string, value: number | undefined, min: number, max: number): number | undefined {
  if (value === undefined) return undefined;
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw new InvalidCommandError(`limits.${name} must be an integer from ${min} to ${max}, got ${value}`, { name, value, min, max });
  }
  return value;
}

const text = (value: number | undefined): string => (value === undefined ? "" : String(value));

/**
 * Parameters 6 to 10 of the wrapper: nice, niceness, memory in KiB, CPU seconds, open files.
 *
 * @throws {InvalidCommandError}
 */
function limitParameters(limits: CommandLimits, tools: Pick<WrapperTools, "nice">): readonly string[] {
  const memoryBytes = bounded("memoryBytes", limits.memoryBytes, 1024 * 1024, Number.MAX_SAFE_INTEGER);
  return [
    tools.nice,
    text(bounded("nice", limits.nice, -20, 19)),
    text(memoryBytes === undefined ? undefined : Math.ceil(memoryBytes / 1024)),
    text(bounded("cpuSeconds", limits.cpuSeconds, 1, 2 ** 31)),
    text(bounded("openFiles", limits.openFiles, 16, 2 ** 20)),
  ];
}

const hasNul = (value: string): boolean => value.includes("\0");

/**
 * Refuses what cannot be given to a process. No value gets into a message.
 *
 * @throws {InvalidCommandError}
 */
function checkCommand(argv: readonly string[], env: Readonly<Record<string, string>>): void {
  const program = argv[0];
  if (program === undefined || program === "") throw new InvalidCommandError("A command needs a program.");
  // bash takes it for an option of `exec`, and dash has no `--` to end them.
  if (program.startsWith("-")) throw new InvalidCommandError("A command's program must not begin with a dash; write ./-name.", { program });
  const nulAt = argv.findIndex(hasNul);
  if (nulAt >= 0) throw new InvalidCommandError(`Argument ${nulAt} of the command holds a NUL character.`, { argument: nulAt });
  for (const [name, value] of Object.entries(env)) {
    if (hasNul(name) || name.includes("=") || hasNul(value)) {
      throw new InvalidCommandError("An environment variable holds a NUL character, or its name a '='.", { name });
    }
  }
}
