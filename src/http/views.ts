import { valueOf } from "../domain/json-text.ts";
import type { PipelineDefinition, StageDefinition } from "../pipelines/definition.ts";
import type { ItemRow, VisitRow } from "../store/port/items.ts";
import type { JobRow } from "../store/port/jobs.ts";
import type { ActionRow } from "../store/port/records.ts";
import type { LiveRun, RunRow } from "../store/port/runs.ts";

/** Rows as the wire shows them: JSON texts become values. Everything else has the same name on both sides. */

export const jobView = (row: JobRow) => ({ ...row, payload: valueOf(row.payload), output: valueOf(row.output) });
export const runView = (row: RunRow) => ({ ...row, progress: valueOf(row.progress), evidence: valueOf(row.evidence) });
export const liveRunView = (row: LiveRun) => ({ ...runView(row), ...pick(row) });
export const itemView = (row: ItemRow) => ({ ...row, input: valueOf(row.input) });
export const visitView = (row: VisitRow) => ({ ...row, output: valueOf(row.output) });
export const actionView = (row: ActionRow) => ({ ...row, evidence: valueOf(row.evidence) });

const pick = ({ queue, attempts, maxAttempts, itemId, agent, repo }: LiveRun) => ({ queue, attempts, maxAttempts, itemId, agent, repo });

/** A definition without the values of its environment: none should be a secret, but some often are. */
export function definitionView(definition: PipelineDefinition): PipelineDefinition {
  const stages = Object.entries(definition.stages).map(([name, stage]): [string, StageDefinition] => [
    name,
    { ...stage, env: Object.fromEntries(Object.keys(stage.env).map((key) => [key, "***"])) },
  ]);
  return { ...definition, stages: Object.fromEntries(stages) };
}
