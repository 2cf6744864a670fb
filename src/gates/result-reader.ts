import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { messageOf } from "../domain/errors.ts";
import type { HostId, ItemId, JobId, RunId } from "../domain/ids.ts";
import { type DataPaths, itemDirOf, runDirOf } from "../files/data-paths.ts";
import type { PathAccess } from "../files/foreign/path-operation.ts";
import { PathDevices } from "../files/path-devices.ts";
import { readSecrets } from "../files/secrets.ts";
import type { EndedBy } from "../liveness/exit-policy.ts";
import { type RunOutput, readRunOutput } from "../observe/run-output.ts";
import { readUnstarted } from "../observe/unstarted-command.ts";
import type { StageDefinition } from "../pipelines/definition.ts";
import { readEndedBy } from "../processes/run-folder/exit-record.ts";
import { runFiles } from "../processes/run-folder/run-files.ts";
import { commandEnvironment, commandPath } from "../processes/wrapper/environment.ts";
import { filesOf, readGate } from "./gate.ts";
import type { GateAnswer, GateSubject } from "./gate-answer.ts";
import { GateTurns } from "./gate-turns.ts";

export interface ResultReaderDeps {
  readonly paths: DataPaths;
  readonly hostId: HostId;
  /** Folder of wakeful.yaml, where relative paths of stages start. */
  readonly baseDir: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** How secrets, programs and files of gates are reached. */
  readonly access: PathAccess;
  /** Absent: nothing is known of where commands lay when this process began. */
  readonly devices?: PathDevices | undefined;
  /** Gates read at once. Of those that look at files two at most; the others wait their turn. */
  readonly gatesAtOnce: number;
}

/** A run whose exit is on record. */
export interface ExitedRun {
  readonly runId: RunId;
  /** Null: unknown. */
  readonly exitCode: number | null;
}

/** The run whose gate is read. */
export interface GatedRun {
  readonly runId: RunId;
  readonly jobId: JobId;
  readonly attempt: number;
  readonly itemId: ItemId | null;
  /** Undefined: it could not be read. Called within the gate's time limit. */
  readonly item: () => Promise<{ readonly key: string; readonly dir: string } | undefined>;
}

/** Reads what an exited run left on this host: how it ended, its output, and its stage's gate. Writes nothing, so it can be repeated. */
export class ResultReader {
  readonly #deps: ResultReaderDeps;
  readonly #turns: GateTurns;

  constructor(deps: ResultReaderDeps) {
    this.#deps = deps;
    this.#turns = new GateTurns({ commandsAtOnce: deps.gatesAtOnce });
  }

  /** What an exited run left: its output, or why its command was never executed. Nothing is asked of one that failed by itself. */
  async output({ runId, exitCode }: ExitedRun, stage: StageDefinition | undefined): Promise<RunOutput> {
    const { paths, environment, baseDir, access, devices = new PathDevices(access) } = this.#deps;
    const runDir = runDirOf(paths, runId);
    if (exitCode === 0) return await readRunOutput(runDir);
    if (exitCode === null || stage?.run.kind !== "command") return { kind: "none" };
    const [program = ""] = stage.run.argv;
    const search = { program, cwd: resolve(baseDir, stage.cwd ?? "."), path: commandPath(environment, stage.env) };
    return (await readUnstarted({ runDir, status: exitCode, search, access, devices })) ?? { kind: "none" };
  }

  /** How the command ended whose exit is on record. */
  async endedBy(runId: RunId): Promise<EndedBy> {
    return await readEndedBy({ runDir: runDirOf(this.#deps.paths, runId), runId });
  }

  /** One limit, `gate.timeout`, bounds the whole reading: the item, the disk and every command. */
  async gate(run: GatedRun, stage: StageDefinition, signal: AbortSignal): Promise<GateAnswer | { readonly kind: "none" }> {
    const { gate, gateTimeoutMs: timeoutMs } = stage;
    if (gate === undefined) return { kind: "none" };
    const subject = run.itemId === null ? `run ${run.runId}` : `item ${run.itemId}`;
    try {
      return await this.#turns.read(gate, { subject, timeoutMs, signal }, async (limit, leave) => {
        const item = run.itemId === null ? undefined : await run.item();
        if (item === undefined) return { kind: "unreadable", error: "its item could not be read" };
        const secrets = await readSecrets(stage.envFiles, this.#deps).catch(withoutSecret);
        if (typeof secrets === "string") return { kind: "unreadable", error: secrets, machine: true };
        const gated = await this.#subjectOf(run, { stage, secrets }, item);
        // A helper process looks at them, however long that takes.
        if (filesOf(gate).some((file) => gated.access.isForeign(resolve(gated.workDir, file)))) leave();
        return await readGate(gate, gated, limit);
      });
    } catch (thrown) {
      return { kind: "unreadable", error: messageOf(thrown) };
    }
  }

  async #subjectOf(
    { runId, jobId, attempt }: GatedRun,
    { stage, secrets }: { readonly stage: StageDefinition; readonly secrets: Readonly<Record<string, string>> },
    item: { readonly key: string; readonly dir: string },
  ): Promise<GateSubject> {
    const { paths, baseDir, hostId, environment, access } = this.#deps;
    const runDir = runDirOf(paths, runId);
    const workDir = itemDirOf(paths, item.dir);
    // Without this file's time no file can be told from an earlier run's, and a gate that needs it says so.
    const started = await stat(runFiles(runDir).started).catch(() => undefined);
    const env = commandEnvironment({
      workerEnv: environment,
      stageEnv: { ...stage.env, ...secrets },
      hostId,
      run: { runId, jobId, attempt, runDir, workDir, itemKey: item.key, stage: stage.name },
    });
    return {
      workDir,
      access,
      cwd: resolve(baseDir, stage.cwd ?? "."),
      env,
      notBeforeMs: started?.mtimeMs,
      log: { path: runFiles(runDir).stderrLog, maxBytes: stage.log.maxBytes },
    };
  }
}

const withoutSecret = (thrown: unknown): string => `a secret of its stage cannot be read: ${messageOf(thrown)}`;
