import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { messageOf } from "../domain/errors.ts";
import type { HostId } from "../domain/ids.ts";
import type { Instant } from "../domain/time.ts";
import { type DataPaths, itemDirOf, runDirOf } from "../files/data-paths.ts";
import { readSecrets } from "../files/secrets.ts";
import { readGate } from "../gates/gate.ts";
import type { GateAnswer, GateSubject } from "../gates/gate-answer.ts";
import { GateTurns } from "../gates/gate-turns.ts";
import { type ExitResolution, type GateReading, resolveExit, type StagePosition } from "../liveness/exit-resolution.ts";
import type { RunOutcome } from "../liveness/retry-contract.ts";
import type { GateDefinition, StageDefinition } from "../pipelines/definition.ts";
import { StoredStages, type VersionSource } from "../pipelines/reading/stored-stages.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import { runFiles } from "../processes/run-folder/run-files.ts";
import { commandEnvironment } from "../processes/wrapper/environment.ts";
import type { ItemsStore } from "../store/port/items.ts";
import type { LiveRun, Settlement } from "../store/port/runs.ts";
import { readRunOutput } from "./run-output.ts";
import { type SettlingContext, settlementOfFailure, settlementOfSuccess } from "./settlement.ts";

export interface FinaliserDeps {
  readonly registry: PipelineRegistry;
  /** Without stored versions only stages of the registry can be told: enough for who finalises no other runs. */
  readonly items: Pick<ItemsStore, "get"> & VersionSource;
  readonly paths: DataPaths;
  readonly hostId: HostId;
  /** Folder of wakeful.yaml, where relative paths of stages start. */
  readonly baseDir: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly random: () => number;
  readonly now: () => Instant;
  /** How many gates may be read at once, of those that look at files two at most; the others wait their turn. */
  readonly gatesAtOnce: number;
}

/** What became of finalising a run whose exit is on record. */
export type Finalised =
  | { readonly kind: "settle"; readonly settlement: Settlement }
  /** The gate, or the item, could not be read: again at `readAgainAt`, and `gate_pending_at` is to be stored. */
  | { readonly kind: "wait"; readonly readAgainAt: Instant; readonly why: string };

/**
 * Turns an exit on record into a settlement: output, position of the item, gate. Read-only, so it may be done again by whoever takes over;
 * used alike by a run's own supervisor and by the job-reaper.
 */
export class Finaliser {
  readonly #deps: FinaliserDeps;
  readonly #stored: StoredStages;
  readonly #turns: GateTurns;

  constructor(deps: FinaliserDeps) {
    this.#deps = deps;
    this.#stored = new StoredStages(deps.registry, deps.items);
    this.#turns = new GateTurns({ commandsAtOnce: deps.gatesAtOnce });
  }

  /**
   * @param run - exited, with its exit code.
   * @param stoppedFor - the outcome for which we signalled it, when we did: it stays the reason.
   */
  async finalise(
    run: LiveRun,
    options: { readonly actor: string; readonly signal: AbortSignal; readonly evidence?: unknown; readonly stoppedFor?: RunOutcome },
  ): Promise<Finalised> {
    const { registry, now, random } = this.#deps;
    const { exitCode } = run;
    // A stage that is not declared any more is still finalised by the version under which its item entered it.
    const stage = await this.#stored.stageOf(run);
    const context: SettlingContext = { registry, stage, random, now: now(), actor: options.actor };
    // A code is never invented: an exit whose code nobody knows is no success.
    if (exitCode === null) {
      const outcome: RunOutcome = { kind: "lost", reason: "it exited, and its exit code is not known" };
      const settlement = settlementOfFailure(run, outcome, { reason: "exit_unknown", evidence: options.evidence }, context);
      return { kind: "settle", settlement };
    }
    const details = { exitCode, evidence: { ...asObject(options.evidence), exitCode } };
    const position = positionOf(run, stage);
    // Of an item that has moved on nothing follows any more, so its output does not matter either.
    const reads = exitCode === 0 && position !== "past";
    const output = reads ? await readRunOutput(runDirOf(this.#deps.paths, run.id)) : { kind: "none" as const };
    if (output.kind === "bad") {
      const outcome: RunOutcome = { kind: "bad_output", reason: `bad_output: ${output.why}` };
      return { kind: "settle", settlement: settlementOfFailure(run, outcome, { ...details, reason: "bad_output" }, context) };
    }
    const facts = {
      exitCode,
      policy: stage?.exitCodes ?? {},
      stoppedFor: options.stoppedFor,
      position,
      gatePendingAt: run.gatePendingAt ?? undefined,
      gatePatienceMs: stage?.gatePatienceMs ?? 0,
      failedReadings: readingsSince(run.gatePendingAt, context.now),
    };
    let gate: GateReading = stage?.gate === undefined ? { kind: "none" } : { kind: "not_read" };
    let resolution: ExitResolution = resolveExit({ ...facts, gate, now: context.now });
    if (resolution.kind === "read_gate" && stage?.gate !== undefined) {
      gate = await this.#readGate(run, stage, stage.gate, options.signal);
      resolution = resolveExit({ ...facts, gate, now: now() });
    }
    const settling = { ...context, now: now() };
    switch (resolution.kind) {
      case "done":
        return {
          kind: "settle",
          settlement: await this.#success(
            run,
            stage,
            { advance: resolution.advance, reason: resolution.reason, output: output.kind === "json" ? output.text : undefined },
            details,
            settling,
          ),
        };
      case "retry_contract": {
        const { outcome } = resolution;
        const settlement = settlementOfFailure(run, outcome, { ...details, reason: reasonCode(outcome) }, settling);
        return { kind: "settle", settlement };
      }
      case "wait":
        return { kind: "wait", readAgainAt: resolution.readAgainAt, why: gate.kind === "unreadable" ? gate.error : resolution.reason };
      case "read_gate":
        throw new Error(`The gate of run ${run.id} was asked for after it had been read.`);
    }
  }

  /** Whether what a run started may outlive it: as its stage says, also where that is told by a stored version alone. */
  async leavesStrays(run: LiveRun): Promise<boolean> {
    return (await this.#stored.stageOf(run))?.strays === "leave";
  }

  async #success(
    run: LiveRun,
    stage: StageDefinition | undefined,
    success: { readonly advance: boolean; readonly reason: string; readonly output: string | undefined },
    details: { readonly exitCode: number; readonly evidence: unknown },
    context: SettlingContext,
  ): Promise<Settlement> {
    const { output, reason } = success;
    if (!success.advance || run.pipeline === null || run.itemStage === null) {
      return settlementOfSuccess(run, { advance: undefined, output, details: { ...details, reason } }, context);
    }
    const advance = stage === undefined ? undefined : await this.#stored.advanceFrom(run.pipeline, stage);
    if (advance === undefined) {
      const outcome: RunOutcome = { kind: "failed", disposition: "hold", reason: `stage_vanished: ${vanishedText(run, stage)}` };
      return settlementOfFailure(run, outcome, { ...details, reason: "stage_vanished" }, context);
    }
    return settlementOfSuccess(run, { advance, output, details: { ...details, reason } }, context);
  }

  /** The whole of it under one limit, `gate.timeout`: the store, the disk and every command of the gate. */
  async #readGate(run: LiveRun, stage: StageDefinition, gate: GateDefinition, signal: AbortSignal): Promise<GateAnswer> {
    const options = { subject: run.itemId === null ? `run ${run.id}` : `item ${run.itemId}`, timeoutMs: stage.gateTimeoutMs, signal };
    try {
      return await this.#turns.read(gate, options, async (limit) => {
        const subject = await this.#gateSubject(run, stage);
        return subject === undefined ? { kind: "unreadable", error: "its item could not be read" } : await readGate(gate, subject, limit);
      });
    } catch (thrown) {
      return { kind: "unreadable", error: messageOf(thrown) };
    }
  }

  async #gateSubject(run: LiveRun, stage: StageDefinition): Promise<GateSubject | undefined> {
    const { paths, baseDir, hostId, environment, items } = this.#deps;
    const item = run.itemId === null ? undefined : await items.get(run.itemId);
    if (item === undefined) return undefined;
    const runDir = runDirOf(paths, run.id);
    const workDir = itemDirOf(paths, item.dir);
    // Missing or unreadable: then no file can be told from an earlier run's, and the gate that asks for it says so.
    const started = await stat(runFiles(runDir).started).catch(() => undefined);
    const env = commandEnvironment({
      workerEnv: environment,
      stageEnv: { ...stage.env, ...(await readSecrets(stage.envFiles, baseDir)) },
      hostId,
      runId: run.id,
      jobId: run.jobId,
      attempt: run.attempt,
      runDir,
      workDir,
      itemKey: item.key,
      stage: stage.name,
    });
    return {
      workDir,
      cwd: resolve(baseDir, stage.cwd ?? "."),
      env,
      notBeforeMs: started?.mtimeMs,
      log: { path: runFiles(runDir).stderrLog, maxBytes: stage.log.maxBytes },
    };
  }
}

/** Which stage is missing after a run that ended well, and what a person can do. */
function vanishedText({ pipeline, itemStage, jobId }: LiveRun, stage: StageDefinition | undefined): string {
  const what =
    stage === undefined
      ? `stage ${itemStage} of pipeline ${pipeline} is not declared any more, and no version on record says what follows it`
      : `it ended well, and stage ${stage.next} of pipeline ${pipeline}, which follows ${itemStage}, is not declared any more`;
  return `${what}: declare it again, then \`wakeful unhold job:${jobId}\` runs ${itemStage} once more; or \`wakeful cancel job:${jobId}\``;
}

/** How many readings have failed in this time when each came twice as long after the one before, the first of them after a second. */
function readingsSince(gatePendingAt: Instant | null, now: Instant): number {
  return gatePendingAt === null ? 0 : Math.round(Math.log2(1 + Math.max(0, now - gatePendingAt) / 1000));
}

/** The stable code of an outcome: its kind, which the message explains. */
const reasonCode = (outcome: RunOutcome): string => (outcome.kind === "failed" || outcome.kind === "lost" ? "exit_code" : outcome.kind);

function positionOf(run: LiveRun, stage: StageDefinition | undefined): StagePosition {
  if (run.itemId === null) return "no_item";
  if (run.itemStage === null) return "lookup_failed";
  if (stage === undefined) return run.itemVisitId === run.visitId ? "pending" : "past";
  return run.itemVisitId === run.visitId && run.itemStage === stage.name ? "pending" : "past";
}

function asObject(value: unknown): object {
  return typeof value === "object" && value !== null ? value : {};
}
