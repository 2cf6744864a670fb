import { createHash } from "node:crypto";
import type { DurationMs } from "../domain/time.ts";
import type { CompatibleStageNames } from "./stage-names.ts";

/** Any value that JSON can hold. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/**
 * A pipeline as data: normalised (every default filled in, every duration in milliseconds), frozen and serialisable.
 * YAML and TypeScript end in the same definition. Stages form one chain that begins at `first` and ends where `next` is null.
 */
export interface PipelineDefinition {
  readonly name: string;
  /** Absent: items come only by `wakeful submit` or the API. */
  readonly intake?: IntakeDefinition | undefined;
  /** By stage name. Their order means nothing; the `next` chain does. */
  readonly stages: Readonly<Record<string, StageDefinition>>;
  /** The stage that a new item enters. */
  readonly first: string;
}

export interface StageDefinition {
  readonly name: string;
  readonly run: RunDefinition;
  /** Absent: the stage proves no progress, and only its process, `timeoutMs` and `maxRunningMs` judge it. */
  readonly heartbeat?: HeartbeatDefinition | undefined;
  /** The age at which a run is stopped. Absent: only `maxRunningMs` bounds it. */
  readonly timeoutMs?: DurationMs | undefined;
  /**
   * The age at which a run is given up whatever the evidence; greater than `timeoutMs`. Absent: derived from the live settings at each
   * judgement (docs/pipelines.md).
   */
  readonly maxRunningMs?: DurationMs | undefined;
  /** Attempts of one visit, at least 1. */
  readonly attempts: number;
  /** Losses after which the job is held. Absent: a loss spends an attempt. */
  readonly maxLosses?: number | undefined;
  /** What happens to the job when its attempts are spent. */
  readonly onExhausted: "fail" | "hold";
  readonly retry: RetryDefinition;
  readonly exitCodes: ExitCodePolicy;
  /** Most concurrent runs over all workers, under `concurrencyKey`. Absent: only the workers' capacity limits them. */
  readonly concurrency?: number | undefined;
  /** The slot that limited runs share; `<pipeline>.<stage>` unless declared. Stages with one key share one limit. */
  readonly concurrencyKey: string;
  /** Absent: exit 0 is green. */
  readonly gate?: GateDefinition | undefined;
  /** How long an unreadable gate is read again before it counts as red. 0: at once. */
  readonly gatePatienceMs: DurationMs;
  /** How long one reading of the gate may take before it counts as unreadable. */
  readonly gateTimeoutMs: DurationMs;
  /**
   * How long after its recorded exit a run may take to be settled before another process finalises it. Absent: the live
   * `reaper.finalizeGraceMs`.
   */
  readonly finalizeGraceMs?: DurationMs | undefined;
  /** What the command reads as its standard input. Absent: nothing. */
  readonly stdin?: "input" | undefined;
  /** What happens to processes that outlive a run which ended by itself. */
  readonly strays: "stop" | "leave";
  readonly log: { readonly maxBytes: number };
  /** Added to the command's allow-listed environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Variables whose value is a file's content, read when the command starts, so that no definition holds a secret. */
  readonly envFiles: Readonly<Record<string, string>>;
  /** Relative paths start at the folder of wakeful.yaml. Absent: that folder; `WAKEFUL_WORK_DIR` names the item's directory. */
  readonly cwd?: string | undefined;
  /** What a worker of another host does to the command when it cannot renew its session. Has no effect until there are such workers. */
  readonly fence: "freeze" | "kill" | "none";
  /** Lower is claimed first. */
  readonly priority: number;
  /** For reports, alerts and the compatible API. */
  readonly labels: StageLabels;
  /** The stage that follows, or null at the end of the pipeline. */
  readonly next: string | null;
  readonly compatible: CompatibleStageNames;
}

export type RunDefinition =
  | { readonly kind: "command"; readonly argv: readonly string[] }
  | { readonly kind: "handler"; readonly name: string };

export interface HeartbeatDefinition {
  /** A run whose last progress is older is hung; a run without any is hung after twice this time since its start. */
  readonly timeoutMs: DurationMs;
  /** `file`: the heartbeat files, the API and `ctx.heartbeat()`. `output`: also every growth of its stdout or stderr. */
  readonly from: "file" | "output";
}

export interface RetryDefinition {
  readonly minMs: DurationMs;
  readonly maxMs: DurationMs;
  /** Each delay is this many times the one before, up to `maxMs`; at least 1. */
  readonly factor: number;
}

/** What an exit code means. A code stands in at most one list; codes in no list follow the retry contract. */
export interface ExitCodePolicy {
  readonly retryOn: readonly number[];
  readonly failOn: readonly number[];
  readonly holdOn: readonly number[];
}

export interface StageLabels {
  readonly agent?: string | undefined;
  readonly repo?: string | undefined;
}

export type GateDefinition =
  | FileGateDefinition
  | { readonly kind: "command"; readonly argv: readonly string[] }
  | { readonly kind: "all"; readonly gates: readonly GateDefinition[] }
  | { readonly kind: "any"; readonly gates: readonly GateDefinition[] }
  | { readonly kind: "not"; readonly gate: GateDefinition };

/** Green when the file is regular, not older than the run's start (unless `anyAge`), large enough and has the declared beginning. */
export interface FileGateDefinition {
  readonly kind: "file";
  /** Inside the item's work directory. */
  readonly path: string;
  readonly minBytes?: number | undefined;
  /** Compared with the file's first bytes, as ASCII. */
  readonly startsWith?: string | undefined;
  /** One of these is what the file begins with, in lower-case hexadecimal. */
  readonly signature?: readonly string[] | undefined;
  readonly anyAge: boolean;
}

export interface IntakeDefinition {
  /** The folder to watch; relative paths start at the folder of wakeful.yaml. */
  readonly watch: string;
  /** Globs over file names (no folders): `*`, `?`, `[a-z]`, `{cbz,cbr}`. */
  readonly match: readonly string[];
  /** Part of the item key beside the content's hash: the same file under another profile is another item. */
  readonly profile: Json;
  readonly maxBytes: number;
  /** A file is taken when its size and times have not changed for this long. */
  readonly minStableMs: DurationMs;
  /** The file must begin with one of these byte strings, in lower-case hexadecimal. Absent: any content. */
  readonly signature?: readonly string[] | undefined;
  /** A file is taken only when free disk space is at least this many times its size. */
  readonly diskFreeFactor: number;
  readonly errorDir: string;
  readonly archiveDir: string;
  readonly duplicates: "hold" | "discard" | "use_existing" | "reprocess";
}

/** JSON with sorted keys and without absent values, so that equal definitions have equal texts. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (value !== null && typeof value === "object") {
    const entries = Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
    return `{${entries.join(",")}}`;
  }
  return JSON.stringify(value);
}

/** The version of a definition: the SHA-256 of its canonical text, in hexadecimal. Items name the version they run under. */
export function versionOf(definition: PipelineDefinition): string {
  return createHash("sha256").update(canonicalJson(definition)).digest("hex");
}

/** The stages in the order in which an item visits them. */
export function stageChain(definition: PipelineDefinition): readonly StageDefinition[] {
  const chain: StageDefinition[] = [];
  // Bounded by the number of stages, so that an unvalidated definition cannot loop.
  for (let name: string | null = definition.first; name !== null && chain.length < Object.keys(definition.stages).length; ) {
    const stage: StageDefinition | undefined = Object.hasOwn(definition.stages, name) ? definition.stages[name] : undefined;
    if (stage === undefined) break;
    chain.push(stage);
    name = stage.next;
  }
  return chain;
}

export { deepFreeze } from "../domain/deep-freeze.ts";
