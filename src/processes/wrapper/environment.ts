import type { HostId, JobId, RunId } from "../../domain/ids.ts";
import { InvalidCommandError } from "../errors.ts";
import { runFiles } from "../run-folder/run-files.ts";
import { formatMarker, markerVariable, runVariables } from "../run-folder/run-marker.ts";

/** What a command takes over from its worker. Everything else stays there, secrets included. */
const allowedVariables = ["PATH", "HOME", "LANG", "TZ", "TMPDIR"] as const;

const defaultPath = "/usr/local/bin:/usr/bin:/bin";

/** The PATH of a command, in which its program is looked for. */
export const commandPath = (workerEnv: CommandEnvironmentOptions["workerEnv"], stageEnv: CommandEnvironmentOptions["stageEnv"]): string =>
  stageEnv["PATH"] ?? workerEnv["PATH"] ?? defaultPath;

export interface CommandEnvironmentOptions {
  /** The worker's own environment. */
  readonly workerEnv: Readonly<Record<string, string | undefined>>;
  /** The stage's `env`, secrets already resolved. May replace the allowed variables, never those of the run. */
  readonly stageEnv: Readonly<Record<string, string>>;
  readonly hostId: HostId;
  readonly run: CommandVariables;
  /** The API's address, and a token for this run only; absent without a daemon. */
  readonly url?: string | undefined;
  readonly token?: string | undefined;
  readonly traceparent?: string | undefined;
}

/** What a command's variables say of its run. */
export interface CommandVariables {
  readonly runId: RunId;
  readonly jobId: JobId;
  /** For people: the number of this run within its job, from 1. */
  readonly attempt: number;
  readonly runDir: string;
  readonly workDir: string;
  /** Absent for a plain task. */
  readonly itemKey?: string | undefined;
  readonly stage?: string | undefined;
}

/**
 * The whole environment of a command.
 *
 * @throws {InvalidCommandError} `bad_request`: a stage variable that a shell would drop (not letters, digits and underscores), that names
 * the run, or that holds a NUL character.
 */
export function commandEnvironment(options: CommandEnvironmentOptions): Record<string, string> {
  const reserved = new Set<string>(runVariables);
  for (const [name, value] of Object.entries(options.stageEnv)) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      throw new InvalidCommandError(`env.${name}: a variable's name has letters, digits and underscores only.`, { name });
    }
    if (reserved.has(name) || name.startsWith("_wkf_")) throw new InvalidCommandError(`env.${name} is set by Wakeful itself.`, { name });
    if (value.includes("\0")) throw new InvalidCommandError(`env.${name} holds a NUL character.`, { name });
  }
  const env: Record<string, string> = { PATH: commandPath(options.workerEnv, options.stageEnv) };
  for (const name of allowedVariables) {
    const value = options.workerEnv[name];
    if (value !== undefined) env[name] = value;
  }
  Object.assign(env, options.stageEnv);
  const { run } = options;
  const files = runFiles(run.runDir);
  const ofRun: Record<(typeof runVariables)[number], string | undefined> = {
    WAKEFUL_JOB_ID: String(run.jobId),
    WAKEFUL_RUN_ID: String(run.runId),
    WAKEFUL_ITEM_KEY: run.itemKey,
    WAKEFUL_STAGE: run.stage,
    WAKEFUL_ATTEMPT: String(run.attempt),
    WAKEFUL_WORK_DIR: run.workDir,
    WAKEFUL_HEARTBEAT_FILE: files.heartbeat,
    WAKEFUL_PROGRESS_FILE: files.progress,
    WAKEFUL_INPUT_FILE: files.input,
    WAKEFUL_OUTPUT_FILE: files.output,
    WAKEFUL_URL: options.url,
    WAKEFUL_TOKEN: options.token,
    TRACEPARENT: options.traceparent,
    [markerVariable]: formatMarker({ runId: run.runId, hostId: options.hostId }),
  };
  for (const [name, value] of Object.entries(ofRun)) if (value !== undefined) env[name] = value;
  return env;
}
