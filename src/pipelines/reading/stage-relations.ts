import type { Finding, KeyPath } from "../../config/mistake.ts";
import { renewalsPerHeartbeatTimeout } from "../../config/relations.ts";
import { formatDuration } from "../../domain/durations.ts";
import type { DurationMs } from "../../domain/time.ts";
import { type PipelineDefinition, type StageDefinition, stageChain } from "../definition.ts";

/**
 * Relations within one pipeline whose single values are valid.
 * @param finalizeGraceMs - For stages that declare none.
 */
export function pipelineRelations(definition: PipelineDefinition, path: KeyPath, finalizeGraceMs: DurationMs): readonly Finding[] {
  const { intake } = definition;
  const sameFolder = (["errorDir", "archiveDir"] as const).flatMap((key): Finding[] =>
    intake !== undefined && trimmedPath(intake[key]) === trimmedPath(intake.watch)
      ? [
          {
            path: [...path, "intake", key],
            value: intake[key],
            rule: "must be another folder than the watched one: its files would be taken in again",
          },
        ]
      : [],
  );
  return [
    ...sameFolder,
    ...stageChain(definition).flatMap((stage) => stageRelations(stage, [...path, "stages", stage.name], finalizeGraceMs)),
  ];
}

const trimmedPath = (path: string): string => path.replace(/^\.\//, "").replace(/\/+$/, "");

/** The longest time that the stage's own settings allow a run. */
const honestMs = ({ timeoutMs = 0, finalizeGraceMs, gatePatienceMs }: StageDefinition, defaultGraceMs: DurationMs): DurationMs =>
  timeoutMs + (finalizeGraceMs ?? defaultGraceMs) + gatePatienceMs;

/** Whether one reading may outlast a finaliser's grace (B-19). A grace of 0 asks for just that: no waiting. */
const gateOutlives = ({ gate, gateTimeoutMs }: StageDefinition, graceMs: DurationMs): boolean =>
  gate !== undefined && graceMs > 0 && gateTimeoutMs >= graceMs;

function stageRelations(stage: StageDefinition, path: KeyPath, defaultGraceMs: DurationMs): Finding[] {
  const findings: Finding[] = [];
  const { timeoutMs, maxRunningMs, finalizeGraceMs, gateTimeoutMs, retry, exitCodes } = stage;
  const leastMs = honestMs(stage, defaultGraceMs);
  if (maxRunningMs !== undefined && maxRunningMs <= leastMs) {
    const parts = timeoutMs === undefined ? "finalizeGrace + gate.patience" : "timeout + finalizeGrace + gate.patience";
    findings.push({
      path: [...path, "maxRunning"],
      value: formatDuration(maxRunningMs),
      rule: `must be greater than ${parts} (${formatDuration(leastMs)}): it would end runs that are still within their limits`,
    });
  }
  const graceMs = finalizeGraceMs ?? defaultGraceMs;
  if (gateOutlives(stage, graceMs)) {
    findings.push({
      path: [...path, "gate", "timeout"],
      value: formatDuration(gateTimeoutMs),
      rule: `must be less than finalizeGrace (${formatDuration(graceMs)}): the reaper would read the gate while the run's own supervisor still does`,
    });
  }
  if (retry.minMs > retry.maxMs) {
    findings.push({
      path: [...path, "retry", "min"],
      value: formatDuration(retry.minMs),
      rule: `must not be greater than retry.max (${formatDuration(retry.maxMs)})`,
    });
  }
  const owners = new Map<number, string>();
  for (const [list, codes] of Object.entries(exitCodes) as [string, readonly number[]][]) {
    for (const [index, code] of codes.entries()) {
      const owner = owners.get(code);
      if (owner !== undefined)
        findings.push({
          path: [...path, "exitCodes", list, index],
          value: code,
          rule: `stands in ${owner} already: a code means one thing`,
        });
      owners.set(code, list);
    }
  }
  return findings;
}

/** Relations between pipelines: stages that share a key share one limit. */
export function sharedLimitFindings(definitions: readonly PipelineDefinition[]): readonly Finding[] {
  const owners = new Map<string, { readonly limit: number | undefined; readonly where: string }>();
  return definitions.flatMap((definition) =>
    stageChain(definition).flatMap((stage): Finding[] => {
      const owner = owners.get(stage.concurrencyKey);
      if (owner === undefined) owners.set(stage.concurrencyKey, { limit: stage.concurrency, where: `${definition.name}.${stage.name}` });
      if (owner === undefined || owner.limit === stage.concurrency) return [];
      const path = ["pipelines", definition.name, "stages", stage.name, stage.concurrency === undefined ? "concurrencyKey" : "concurrency"];
      const rule = `must be the same as in ${owner.where} (${owner.limit ?? "none"}), which shares the key "${stage.concurrencyKey}"`;
      return [{ path, value: stage.concurrency ?? stage.concurrencyKey, rule }];
    }),
  );
}

/** The settings of the configuration that stages are checked against. */
export interface StageLimits {
  readonly renewMs: DurationMs;
  readonly reaperMaxRunningMs: DurationMs;
  readonly reaperFinalizeGraceMs: DurationMs;
}

/** Relations between stages and the configuration. Also checked when live settings change. */
export function limitFindings(definitions: readonly PipelineDefinition[], limits: StageLimits): readonly Finding[] {
  return [...definitions.flatMap((definition) => heartbeatFindings(definition, limits)), ...ceilingFindings(definitions, limits)];
}

function heartbeatFindings(definition: PipelineDefinition, { renewMs }: StageLimits): Finding[] {
  const leastMs = renewalsPerHeartbeatTimeout * renewMs;
  return stageChain(definition).flatMap(({ name, heartbeat }) =>
    heartbeat === undefined || heartbeat.timeoutMs >= leastMs
      ? []
      : [
          {
            path: ["pipelines", definition.name, "stages", name, "heartbeat", "timeout"],
            value: formatDuration(heartbeat.timeoutMs),
            rule: `must be at least ${renewalsPerHeartbeatTimeout} x worker.renewMs (${formatDuration(leastMs)}): progress is reported with the renewals`,
          },
        ],
  );
}

/** Relations of live settings to stages, checked on a change; at the start each stage is checked by itself. */
export function liveFindings(definitions: readonly PipelineDefinition[], limits: Omit<StageLimits, "renewMs">): readonly Finding[] {
  const graceFindings = definitions.flatMap((definition) =>
    stageChain(definition).flatMap((stage): Finding[] => {
      const { name, maxRunningMs, finalizeGraceMs } = stage;
      const leastMs = honestMs(stage, limits.reaperFinalizeGraceMs);
      if (maxRunningMs === undefined || finalizeGraceMs !== undefined || maxRunningMs > leastMs) return [];
      return [
        {
          path: ["reaper", "finalizeGraceMs"],
          value: limits.reaperFinalizeGraceMs,
          rule:
            `is too long for ${definition.name}.${name}: with it a run may take ${formatDuration(leastMs)}, ` +
            `and maxRunning (${formatDuration(maxRunningMs)}) must be greater. Give the stage a finalizeGrace of its own, or a longer maxRunning`,
        },
      ];
    }),
  );
  const gateFindings = definitions.flatMap((definition) =>
    stageChain(definition)
      .filter((stage) => stage.finalizeGraceMs === undefined && gateOutlives(stage, limits.reaperFinalizeGraceMs))
      .map(({ name, gateTimeoutMs }) => ({
        path: ["reaper", "finalizeGraceMs"],
        value: limits.reaperFinalizeGraceMs,
        rule:
          `is too short for ${definition.name}.${name}: it must be greater than gate.timeout (${formatDuration(gateTimeoutMs)}), or 0. ` +
          "Give the stage a finalizeGrace of its own, or a shorter gate.timeout",
      })),
  );
  return [...ceilingFindings(definitions, limits), ...graceFindings, ...gateFindings];
}

/** The reaper's ceiling against the limits below it; checked again when a live setting changes. */
function ceilingFindings(definitions: readonly PipelineDefinition[], limits: Omit<StageLimits, "renewMs">): readonly Finding[] {
  return [...longestTimeoutFindings(definitions, limits), ...unlimitedStageFindings(definitions, limits)];
}

/** Stages that declare neither `timeout` nor `maxRunning` end only at the reaper's ceiling. */
function unlimitedStageFindings(definitions: readonly PipelineDefinition[], limits: Omit<StageLimits, "renewMs">): readonly Finding[] {
  const { reaperMaxRunningMs, reaperFinalizeGraceMs } = limits;
  return definitions.flatMap((definition) =>
    stageChain(definition)
      .filter(({ timeoutMs, maxRunningMs }) => timeoutMs === undefined && maxRunningMs === undefined)
      .filter((stage) => reaperMaxRunningMs <= honestMs(stage, reaperFinalizeGraceMs))
      .map((stage) => ({
        path: ["reaper", "maxRunningMs"],
        value: reaperMaxRunningMs,
        rule:
          `must be greater than finalizeGrace + gate.patience of ${definition.name}.${stage.name} (${formatDuration(honestMs(stage, reaperFinalizeGraceMs))}), ` +
          "which has no limit of its own: it would end runs that are still being finalised",
      })),
  );
}

function longestTimeoutFindings(definitions: readonly PipelineDefinition[], limits: Omit<StageLimits, "renewMs">): readonly Finding[] {
  const timeouts = definitions.flatMap((definition) =>
    stageChain(definition).flatMap(({ name, timeoutMs, maxRunningMs }) =>
      // A declared ceiling needs no warning.
      timeoutMs === undefined || maxRunningMs !== undefined ? [] : [{ where: `${definition.name}.${name}`, timeoutMs }],
    ),
  );
  const longest = timeouts.reduce<(typeof timeouts)[number] | undefined>(
    (most, each) => (most === undefined || each.timeoutMs > most.timeoutMs ? each : most),
    undefined,
  );
  if (longest === undefined || limits.reaperMaxRunningMs > longest.timeoutMs + limits.reaperFinalizeGraceMs) return [];
  return [
    {
      path: ["reaper", "maxRunningMs"],
      value: limits.reaperMaxRunningMs,
      rule:
        `must be greater than the longest stage timeout plus reaper.finalizeGraceMs: ${longest.where} may run ${formatDuration(longest.timeoutMs)}, ` +
        `the grace is ${formatDuration(limits.reaperFinalizeGraceMs)}. It is the ceiling of every run that has no limit of its own, and one ` +
        "below an honest run would end work that goes well. Raise it, shorten that timeout, or give the stage a maxRunning of its own",
    },
  ];
}

/** What is allowed but probably not meant. */
export function doubtfulStages(definitions: readonly PipelineDefinition[], reaperMaxRunningMs: DurationMs): readonly Finding[] {
  return definitions.flatMap((definition) =>
    stageChain(definition)
      .filter(({ run, heartbeat, timeoutMs }) => run.kind === "command" && heartbeat === undefined && timeoutMs === undefined)
      .map(({ name, maxRunningMs }) => ({
        path: ["pipelines", definition.name, "stages", name],
        atKey: true,
        value: name,
        rule: `declares neither heartbeat nor timeout: a hung command is noticed only after ${formatDuration(maxRunningMs ?? reaperMaxRunningMs)}`,
      })),
  );
}
