import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { RunId } from "../../domain/ids.ts";
import { type DataPaths, itemDirOf, runDirOf } from "../../files/data-paths.ts";
import type { StageDefinition } from "../../pipelines/definition.ts";
import type { HandlerContext as StageContext, StageHandler, HandlerJob as StageJob } from "../../pipelines/handler.ts";
import { runFiles } from "../../processes/run-folder/run-files.ts";
import { beginHeartbeatFile } from "../buffers/heartbeat-files.ts";
import { inputOf } from "../run-input.ts";
import { type ActiveRun, isPermanent, type TaskContext } from "./handler-context.ts";

export interface StageHandlerOptions {
  readonly handler: StageHandler;
  readonly pipeline: string;
  readonly stage: StageDefinition;
  readonly paths: DataPaths;
  readonly heartbeats: StageHeartbeats;
}

/** Where heartbeats of stages that ask for them go. */
export interface StageHeartbeats {
  /** Writes a run's first heartbeat. Resolves when the store has it. */
  first(runId: RunId): Promise<void>;
  /** Takes changes of these files as heartbeats of the run, until it ends. */
  watch(runId: RunId, paths: readonly string[]): void;
  end(runId: RunId): void;
  /** This host's wall clock. */
  wallNow(): number;
}

/** A stage's function as a worker runs it: with its item, its input and its directory, after a first heartbeat. */
export function handlerOfStage({ handler, pipeline, stage, paths, heartbeats }: StageHandlerOptions) {
  const beats = stage.heartbeat !== undefined;
  return async (job: ActiveRun, context: TaskContext): Promise<unknown> => {
    // Not gathered with others: the function may block its thread from its first line on.
    if (beats) await heartbeats.first(job.runId);
    const { item } = job.claimed;
    const workDir = item === undefined ? null : itemDirOf(paths, item.dir);
    if (workDir !== null) await mkdir(workDir, { recursive: true, mode: 0o700 });
    const runDir = runDirOf(paths, job.runId);
    if (beats || stage.gate !== undefined) await mkdir(runDir, { recursive: true, mode: 0o700 });
    if (stage.gate !== undefined) await markStart(runDir);
    const heartbeatFile = beats ? runFiles(runDir).heartbeat : null;
    const stageJob: StageJob = {
      jobId: job.id,
      runId: job.runId,
      itemId: job.itemId,
      itemKey: item?.key ?? null,
      pipeline,
      stage: stage.name,
      attempt: job.attempt,
      input: JSON.parse(inputOf(job.claimed)) as StageJob["input"],
      workDir,
      heartbeatFile,
    };
    const call = () => withStackInLog(async () => await handler(stageJob, contextOfStage(context)), context);
    if (heartbeatFile === null) return await call();
    const known = workDir === null ? [] : [join(workDir, stage.compatible.heartbeatFile)];
    for (const path of known) await beginHeartbeatFile(path, heartbeats.wallNow());
    heartbeats.watch(job.runId, [heartbeatFile, ...known]);
    try {
      return await call();
    } finally {
      heartbeats.end(job.runId);
    }
  };
}

/** The failure holds only the message: the line that threw is found by the stack in the run's log. */
async function withStackInLog<Output>(work: () => Promise<Output>, context: TaskContext): Promise<Output> {
  try {
    return await work();
  } catch (thrown) {
    // A handler that was asked to stop, or that can never succeed, throws on purpose.
    const onPurpose = context.signal.aborted || isPermanent(thrown);
    if (!onPurpose && thrown instanceof Error && typeof thrown.stack === "string") context.log(`error ${thrown.stack}`);
    throw thrown;
  }
}

/** A gate takes only a file that is not older than this one for a result of this run. It records no process. */
async function markStart(runDir: string): Promise<void> {
  await writeFile(runFiles(runDir).started, "handler\n", { mode: 0o600 });
}

function contextOfStage(context: TaskContext): StageContext {
  const line =
    (level: string): StageContext["log"]["info"] =>
    (message, fields) =>
      context.log(fields === undefined ? `${level} ${message}` : `${level} ${message} ${fieldsText(fields)}`);
  return {
    // Made when it is first read.
    get signal() {
      return context.signal;
    },
    heartbeat: context.heartbeat,
    progress: context.progress,
    log: { info: line("info"), warn: line("warn"), error: line("error") },
  };
}

function fieldsText(fields: object): string {
  try {
    return JSON.stringify(fields);
  } catch {
    // A cycle or a bigint, which JavaScript callers may pass: a log line must not fail the work.
    return "(fields that are not JSON)";
  }
}
