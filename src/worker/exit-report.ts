import type { WorkerId } from "../domain/ids.ts";
import type { Instant } from "../domain/time.ts";
import type { ResultReader } from "../gates/result-reader.ts";
import type { RunOutput } from "../observe/run-output.ts";
import type { StageDefinition } from "../pipelines/definition.ts";
import type { ClaimedRun } from "../store/port/runs.ts";
import type { ExitReading, WorkerBackend, WorkItem } from "./worker-backend.ts";

/** A run whose exit is on record, and what its worker knows of it. */
export interface ExitedWork extends Pick<ClaimedRun, "runId" | "ownerEpoch" | "jobId" | "attempt" | "itemId"> {
  readonly item?: WorkItem | undefined;
  readonly stage: StageDefinition | undefined;
  /** Null: unknown. */
  readonly exitCode: number | null;
  readonly straysLeft: boolean;
  readonly evidence: ExitReading["evidence"];
}

/**
 * Reads what a run left, once, and reports it. Resolves to when it is to be read again. Undefined: it is over for this worker, or `signal`
 * was aborted and the next supervisor reads it.
 */
export async function reportExit(
  {
    backend,
    reader,
  }: { readonly backend: Pick<WorkerBackend, "reading" | "now">; readonly reader: Pick<ResultReader, "endedBy" | "output" | "gate"> },
  workerId: WorkerId,
  { item, stage, exitCode, ...run }: ExitedWork,
  { signal, onOutput }: { readonly signal: AbortSignal; readonly onOutput?: ((output: RunOutput) => void) | undefined },
): Promise<Instant | undefined> {
  const begunAt = backend.now();
  const good = exitCode === 0;
  const output = await reader.output({ ...run, exitCode }, stage);
  onOutput?.(output);
  const gate =
    good && stage !== undefined ? await reader.gate({ ...run, item: async () => item }, stage, signal) : ({ kind: "not_read" } as const);
  const endedBy = exitCode === null || good ? undefined : await reader.endedBy(run.runId);
  if (signal.aborted) return undefined;
  const { runId, ownerEpoch, straysLeft, evidence } = run;
  const answer = await backend.reading(workerId, { runId, ownerEpoch, endedBy, output, gate, begunAt, straysLeft, evidence });
  return answer.kind === "read" ? answer.at : undefined;
}
