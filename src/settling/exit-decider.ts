import type { Instant } from "../domain/time.ts";
import type { EndedBy } from "../liveness/exit-policy.ts";
import { type ExitResolution, type GateReading, resolveExit, type StagePosition } from "../liveness/exit-resolution.ts";
import type { Outcome } from "../liveness/retry-contract.ts";
import type { RunOutput } from "../observe/run-output.ts";
import type { StageDefinition } from "../pipelines/definition.ts";
import { StoredStages, type VersionSource } from "../pipelines/reading/stored-stages.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import type { LiveRun, Settlement } from "../store/port/runs.ts";
import { type SettlingContext, settlementOfFailure, settlementOfSuccess } from "./settlement.ts";

export interface ExitDeciderDeps {
  readonly registry: PipelineRegistry;
  /** Without stored versions only stages of the registry are known. */
  readonly versions: VersionSource;
  readonly random: () => number;
  readonly now: () => Instant;
}

/** What was read of a run that has exited, where its files are. */
export interface ReadExit {
  readonly endedBy?: EndedBy;
  readonly output: RunOutput;
  /** `not_read`: nobody has asked yet. */
  readonly gate: GateReading;
  /** When its reading began, which may be long ago; absent: now. */
  readonly begunAt?: Instant | undefined;
}

/** What follows from an exit on record. */
export type ExitDecision =
  | { readonly kind: "settle"; readonly settlement: Settlement }
  /** The gate, or the item, could not be read: again at `readAgainAt`, and `gate_pending_at` is to be stored. */
  | {
      readonly kind: "wait";
      readonly readAgainAt: Instant;
      /** From when on the gate's patience counts, where nothing earlier is on record or the machine kept it from being read. */
      readonly pendingSince: Instant;
      readonly why: string;
    }
  /** The gate decides, and is to be read. */
  | { readonly kind: "read_gate"; readonly stage: StageDefinition };

export interface DecidingOptions {
  readonly actor: string;
  readonly evidence?: unknown;
  /** The outcome for which we signalled it, when we did: it stays the reason. */
  readonly stoppedFor?: Outcome | undefined;
}

/** Turns an exit on record, and what was read of it, into a settlement. Reads no file, so it may be asked about a run of another host. */
export class ExitDecider {
  readonly #deps: ExitDeciderDeps;
  readonly #stored: StoredStages;

  constructor(deps: ExitDeciderDeps) {
    this.#deps = deps;
    this.#stored = new StoredStages(deps.registry, deps.versions);
  }

  /** @param run - exited, with its exit code. */
  async decide(run: LiveRun, { endedBy, output, gate: read, begunAt }: ReadExit, options: DecidingOptions): Promise<ExitDecision> {
    const { registry, now, random } = this.#deps;
    const { exitCode } = run;
    // A stage that is not declared any more is still finalised by the version under which its item entered it.
    const stage = await this.#stored.stageOf(run);
    const context: SettlingContext = { registry, stage, random, actor: options.actor };
    const decidedAt = now();
    // An unknown exit code is no success: codes are never invented.
    if (exitCode === null) {
      const outcome: Outcome = { kind: "lost", reason: "it exited, and its exit code is not known" };
      const settlement = settlementOfFailure(run, outcome, { reason: "exit_unknown", evidence: options.evidence }, context);
      return { kind: "settle", settlement };
    }
    const evidence = typeof options.evidence === "object" ? options.evidence : {};
    const details = { exitCode, evidence: { ...evidence, exitCode } };
    if (output.kind === "not_started") {
      const { why: reason, blame } = output;
      const outcome: Outcome = blame === "job" ? { kind: "failed", disposition: "give_up", reason } : { kind: "never_started", reason };
      const settlement = settlementOfFailure(run, options.stoppedFor ?? outcome, { ...details, reason: "start_failed" }, context);
      return { kind: "settle", settlement };
    }
    const position = positionOf(run, stage);
    // An item that has moved on makes no use of the run's output.
    const returned = exitCode === 0 && position !== "past" ? output : undefined;
    if (returned?.kind === "bad") {
      const outcome: Outcome = { kind: "bad_output", reason: `bad_output: ${returned.why}` };
      return { kind: "settle", settlement: settlementOfFailure(run, outcome, { ...details, reason: "bad_output" }, context) };
    }
    const gate: GateReading = stage?.gate === undefined ? { kind: "none" } : read;
    const resolution: ExitResolution = resolveExit({
      exitCode,
      endedBy,
      policy: stage?.exitCodes ?? {},
      stoppedFor: options.stoppedFor,
      position,
      gate,
      gatePendingAt: run.gatePendingAt ?? undefined,
      gatePatienceMs: stage?.gatePatienceMs ?? 0,
      failedReadings: readingsSince(run.gatePendingAt, begunAt ?? decidedAt),
      now: decidedAt,
    });
    switch (resolution.kind) {
      case "done": {
        const success = {
          advance: resolution.advance,
          // Stryker disable next-line ConditionalExpression: what is no JSON has no text
          output: returned?.kind === "json" ? returned.text : undefined,
          details: { ...details, reason: resolution.reason },
        };
        return { kind: "settle", settlement: await this.#success(run, success, context) };
      }
      case "retry_contract": {
        const { outcome } = resolution;
        const settlement = settlementOfFailure(run, outcome, { ...details, reason: reasonCode(outcome) }, context);
        return { kind: "settle", settlement };
      }
      case "wait":
        return {
          kind: "wait",
          readAgainAt: resolution.readAgainAt,
          pendingSince: resolution.gatePendingAt,
          why: gate.kind === "unreadable" ? gate.error : resolution.reason,
        };
      case "read_gate":
        // Stryker disable next-line ConditionalExpression: only a stage that is known has a gate to read
        if (stage === undefined) throw new Error(`The gate of run ${run.id} is asked for, and its stage is not known.`);
        return { kind: "read_gate", stage };
    }
  }

  /** As declared, or in the version under which its item entered it. Undefined: neither is known. */
  async stageOf(run: LiveRun): Promise<StageDefinition | undefined> {
    return await this.#stored.stageOf(run);
  }

  /** Whether what a run started may outlive it, as its stage says; a stored version counts too. */
  async leavesStrays(run: LiveRun): Promise<boolean> {
    return (await this.#stored.stageOf(run))?.strays === "leave";
  }

  async #success(
    run: LiveRun,
    success: {
      readonly advance: boolean;
      readonly output: string | undefined;
      readonly details: { readonly reason: string; readonly exitCode: number; readonly evidence: unknown };
    },
    context: SettlingContext,
  ): Promise<Settlement> {
    const { output, details } = success;
    const { stage } = context;
    if (!success.advance) return settlementOfSuccess(run, { advance: undefined, output, details }, context);
    const advance = stage === undefined || run.pipeline === null ? undefined : await this.#stored.advanceFrom(run.pipeline, stage);
    if (advance === undefined) {
      const outcome: Outcome = { kind: "failed", disposition: "hold", reason: `stage_vanished: ${vanishedText(run, stage)}` };
      return settlementOfFailure(run, outcome, { ...details, reason: "stage_vanished" }, context);
    }
    return settlementOfSuccess(run, { advance, output, details }, context);
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

/** How many readings have failed in this time, if the first came after a second and each took twice as long as the one before. */
function readingsSince(gatePendingAt: Instant | null, now: Instant): number {
  return gatePendingAt === null ? 0 : Math.round(Math.log2(1 + Math.max(0, now - gatePendingAt) / 1000));
}

/** The stable code of an outcome: its kind, which the message explains. */
const reasonCode = (outcome: Outcome): string => (outcome.kind === "failed" || outcome.kind === "lost" ? "exit_code" : outcome.kind);

function positionOf(run: LiveRun, stage: StageDefinition | undefined): StagePosition {
  if (run.itemId === null) return "no_item";
  if (run.itemStage === null) return "lookup_failed";
  if (stage === undefined) return run.itemVisitId === run.visitId ? "pending" : "past";
  return run.itemVisitId === run.visitId && run.itemStage === stage.name ? "pending" : "past";
}
