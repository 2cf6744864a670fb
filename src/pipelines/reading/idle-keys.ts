import type { Finding, KeyPath } from "../../config/mistake.ts";
import type { ParsedGate } from "./gate-schema.ts";
import type { ParsedPipeline, ParsedStage } from "./schema.ts";

/** Keys that a stage declares and that do nothing there. */
export interface IdleKeys {
  /** Whoever wrote them relies on something that would not happen. */
  readonly mistakes: readonly Finding[];
  /** Nothing is lost by them but their reader's time. */
  readonly warnings: readonly Finding[];
}

/** What only a command has, declared on stages that run a handler. One finding for each key. */
export function idleKeys(pipeline: ParsedPipeline, path: KeyPath): IdleKeys {
  const mistakes: Finding[] = [];
  const warnings: Finding[] = [];
  for (const [name, stage] of Object.entries(pipeline.stages)) {
    if (stage.run.handler === undefined) continue;
    const stagePath = [...path, "stages", name];
    mistakes.push(...mistakesOf(stage, stagePath));
    warnings.push(...warningsOf(stage, stagePath));
  }
  return { mistakes, warnings };
}

function mistakesOf({ heartbeat, exitCodes }: ParsedStage, path: KeyPath): Finding[] {
  const findings: Finding[] = [];
  if (heartbeat?.from === "output")
    findings.push({
      path: [...path, "heartbeat", "from"],
      value: heartbeat.from,
      rule: "has no effect on a handler stage, whose output nobody watches: call ctx.heartbeat(), and leave this out",
    });
  if (exitCodes !== undefined)
    findings.push({
      path: [...path, "exitCodes"],
      atKey: true,
      value: "exitCodes",
      rule: "has no effect on a handler stage, which ends by returning or throwing: leave it out",
    });
  return findings;
}

function warningsOf({ strays, env, cwd, gate }: ParsedStage, path: KeyPath): Finding[] {
  const findings: Finding[] = [];
  const idle = (key: string, why: string): void => {
    findings.push({ path: [...path, key], atKey: true, value: key, rule: `has no effect on a handler stage${why}` });
  };
  if (strays !== undefined) idle("strays", ": a handler starts no command of its own that could leave any");
  if (!hasCommand(gate)) {
    if (env !== undefined) idle("env", " without a gate command, the only program that would get it");
    if (cwd !== undefined) idle("cwd", " without a gate command, the only program that would start there");
  }
  return findings;
}

function hasCommand(gate: ParsedGate | undefined): boolean {
  if (gate === undefined) return false;
  return gate.command !== undefined || [...(gate.all ?? []), ...(gate.any ?? []), gate.not].some(hasCommand);
}
