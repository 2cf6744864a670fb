import type { RunLimits } from "../../store/port/runs.ts";
import type { StageDefinition } from "../definition.ts";
import { builtInDefaults, normalisePipeline } from "./normalise.ts";

/**
 * A stage known only by its name and the limits that a run of it began with: all defaults, `onExhausted: hold`, any sign of life as
 * progress. It serves to supervise a run at work, never to start one.
 */
export function neutralStage(
  { pipeline, stage }: { readonly pipeline: string; readonly stage: string },
  { heartbeatTimeoutMs }: Partial<RunLimits> = {},
): StageDefinition {
  const { stages } = normalisePipeline(
    { stages: { [stage]: { run: { command: ["false"] }, onExhausted: "hold" } } },
    { name: pipeline, first: stage, defaults: builtInDefaults },
  );
  const neutral = stages[stage];
  if (neutral === undefined) throw new TypeError(`the stage ${JSON.stringify(stage)} cannot be normalised`);
  return heartbeatTimeoutMs === undefined ? neutral : { ...neutral, heartbeat: { timeoutMs: heartbeatTimeoutMs, from: "output" } };
}
