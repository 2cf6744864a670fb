import { posix } from "node:path";
import { defaultStageMaxAttempts } from "../../domain/budget.ts";
import { deepFreeze } from "../../domain/deep-freeze.ts";
import { logMaxBytesDefault } from "../../domain/log-limits.ts";
import { type DurationMs, minutes, seconds } from "../../domain/time.ts";
import type { IntakeDefinition, Json, PipelineDefinition, RunDefinition, StageDefinition } from "../definition.ts";
import { compatibleStageNames } from "../stage-names.ts";
import { gateOf } from "./gate.ts";
import type { ParsedIntake, ParsedPipeline, ParsedStage } from "./schema.ts";
import { signaturesOf } from "./value-schemas.ts";

/** What a definition takes from the configuration for keys that it leaves out. */
export interface PipelineDefaults {
  readonly heartbeatTimeoutMs: DurationMs;
  /** Only compared with: it may change while runs go on, so no definition stores it. */
  readonly finalizeGraceMs: DurationMs;
  readonly intakeMaxBytes: number;
  readonly diskFreeFactor: number;
}

/** The defaults of a configuration that says nothing. */
export const builtInDefaults: PipelineDefaults = deepFreeze({
  heartbeatTimeoutMs: seconds(600),
  finalizeGraceMs: seconds(300),
  intakeMaxBytes: 500 * 2 ** 20,
  diskFreeFactor: 2,
});

const gatePatienceMsDefault = minutes(10);
const gateTimeoutMsDefault = seconds(30);
const minStableMsDefault = seconds(2);
const retryDefault = { minMs: seconds(1), maxMs: minutes(5), factor: 2 };

interface NormaliseOptions {
  readonly name: string;
  readonly first: string;
  readonly defaults: PipelineDefaults;
}

/** Fills in every default and freezes. The input has passed validation. */
export function normalisePipeline(parsed: ParsedPipeline, { name, first, defaults }: NormaliseOptions): PipelineDefinition {
  return deepFreeze({
    name,
    intake: parsed.intake && intakeOf(parsed.intake, defaults),
    stages: Object.fromEntries(
      Object.entries(parsed.stages).map(([stage, input]) => [stage, stageOf(input, { pipeline: name, name: stage, defaults })]),
    ),
    first,
  });
}

interface StageOptions {
  readonly pipeline: string;
  readonly name: string;
  readonly defaults: PipelineDefaults;
}

function stageOf(input: ParsedStage, { pipeline, name, defaults }: StageOptions): StageDefinition {
  const { env, envFiles } = environmentOf(input.env ?? {});
  return {
    name,
    run: runOf(input.run),
    heartbeat: input.heartbeat && {
      timeoutMs: input.heartbeat.timeout ?? defaults.heartbeatTimeoutMs,
      from: input.heartbeat.from ?? "file",
    },
    timeoutMs: input.timeout,
    // An undeclared limit stays open: written down here, it would never follow the live setting.
    maxRunningMs: input.maxRunning,
    attempts: input.attempts ?? defaultStageMaxAttempts,
    maxLosses: input.maxLosses,
    onExhausted: input.onExhausted ?? "fail",
    retry: retryOf(input.retry ?? {}),
    exitCodes: { retryOn: input.exitCodes?.retryOn ?? [], failOn: input.exitCodes?.failOn ?? [], holdOn: input.exitCodes?.holdOn ?? [] },
    concurrency: input.concurrency,
    concurrencyKey: input.concurrencyKey ?? `${pipeline}.${name}`,
    gate: input.gate && gateOf(input.gate),
    gatePatienceMs: input.gate?.patience ?? gatePatienceMsDefault,
    gateTimeoutMs: input.gate?.timeout ?? gateTimeoutMsDefault,
    finalizeGraceMs: input.finalizeGrace,
    // The default stays absent, so that it changes no version.
    stdin: input.stdin === "input" ? "input" : undefined,
    strays: input.strays ?? "stop",
    log: { maxBytes: input.log?.maxBytes ?? logMaxBytesDefault },
    env,
    envFiles,
    cwd: input.cwd,
    fence: input.fence ?? "freeze",
    priority: input.priority ?? 0,
    labels: { agent: input.labels?.agent, repo: input.labels?.repo },
    next: input.next ?? null,
    compatible: compatibleStageNames(name),
  };
}

/** Only one end may be declared; the default of the other end then gives way. */
function retryOf({ min, max, factor }: NonNullable<ParsedStage["retry"]>): StageDefinition["retry"] {
  return {
    minMs: min ?? Math.min(retryDefault.minMs, max ?? retryDefault.minMs),
    maxMs: max ?? Math.max(retryDefault.maxMs, min ?? retryDefault.maxMs),
    factor: factor ?? retryDefault.factor,
  };
}

function runOf({ command, handler }: ParsedStage["run"]): RunDefinition {
  if (command !== undefined) return { kind: "command", argv: command };
  if (handler !== undefined) return { kind: "handler", name: handler };
  throw new TypeError("a stage without a command or handler passed validation");
}

function environmentOf(input: NonNullable<ParsedStage["env"]>): { env: Record<string, string>; envFiles: Record<string, string> } {
  const entries = Object.entries(input);
  return {
    env: Object.fromEntries(entries.flatMap(([name, value]) => (typeof value === "string" ? [[name, value]] : []))),
    envFiles: Object.fromEntries(entries.flatMap(([name, value]) => (typeof value === "string" ? [] : [[name, value.file]]))),
  };
}

function intakeOf(input: ParsedIntake, defaults: PipelineDefaults): IntakeDefinition {
  const parent = posix.dirname(input.watch);
  return {
    watch: input.watch,
    match: input.match ?? ["*"],
    // The copy drops absent members, which must not count in a key.
    profile: JSON.parse(JSON.stringify(input.profile ?? {})) as Json,
    maxBytes: input.maxBytes ?? defaults.intakeMaxBytes,
    minStableMs: input.minStable ?? minStableMsDefault,
    signature: signaturesOf(input.signature),
    diskFreeFactor: input.diskFreeFactor ?? defaults.diskFreeFactor,
    errorDir: input.errorDir ?? posix.join(parent, "error"),
    archiveDir: input.archiveDir ?? posix.join(parent, "archive"),
    duplicates: input.duplicates ?? "hold",
  };
}
