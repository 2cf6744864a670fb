import type { WorkerId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { DataPaths } from "../../files/data-paths.ts";
import type { ExitReader } from "../../gates/exit-reader.ts";
import type { StageDefinition } from "../../pipelines/definition.ts";
import type { HostIdentity, ProcessIdentity } from "../../processes/probe/identity.ts";
import type { ProcessTable } from "../../processes/probe/process-table.ts";
import type { WrapperTools } from "../../processes/wrapper/wrapper-tools.ts";
import type { RunLimits } from "../../store/port/runs.ts";
import type { Emit } from "../../telemetry/events.ts";
import type { WorkerBackend } from "../worker-backend.ts";

/** What all command runs of one worker share. */
export interface CommandRunDeps {
  readonly backend: WorkerBackend;
  readonly reader: ExitReader;
  readonly paths: DataPaths;
  readonly baseDir: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly host: HostIdentity;
  readonly table: ProcessTable;
  readonly tools: WrapperTools;
  readonly clock: { mono(): number };
  readonly wallNow: () => number;
  readonly emit: Emit;
  readonly stopGraceMs: () => DurationMs;
  readonly killGraceMs: () => DurationMs;
  readonly url: () => string | undefined;
  /** The present session. */
  readonly workerId: () => WorkerId;
  /** Sessions of this host: never signalled, nor what is below them. */
  readonly shielded: () => readonly ProcessIdentity[];
}

/** The limits that a run of this stage starts with: those that the stage declares. */
export const declaredLimits = (stage: Pick<StageDefinition, "timeoutMs" | "heartbeat" | "maxRunningMs">): RunLimits => ({
  maxRunningMs: stage.maxRunningMs,
  timeoutMs: stage.timeoutMs,
  heartbeatTimeoutMs: stage.heartbeat?.timeoutMs,
});
