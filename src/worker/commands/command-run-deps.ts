import type { RunId, WorkerId } from "../../domain/ids.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { DataPaths } from "../../files/data-paths.ts";
import type { StageDefinition } from "../../pipelines/definition.ts";
import type { HostIdentity, ProcessIdentity } from "../../processes/probe/identity.ts";
import type { ProcessTable } from "../../processes/probe/process-table.ts";
import type { WrapperTools } from "../../processes/wrapper/wrapper-tools.ts";
import type { Finaliser } from "../../settling/finaliser.ts";
import type { RunEnder } from "../../settling/run-ender.ts";
import type { RunLimits } from "../../store/port/runs.ts";
import type { Store } from "../../store/port/store.ts";
import type { Emit } from "../../telemetry/events.ts";

/** What all command runs of one worker share. */
export interface CommandRunDeps {
  readonly store: Pick<Store, "runs" | "items" | "upkeep" | "now">;
  readonly ender: Pick<RunEnder, "end" | "write">;
  readonly finaliser: Finaliser;
  readonly paths: DataPaths;
  readonly baseDir: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly host: HostIdentity;
  readonly table: ProcessTable;
  readonly tools: WrapperTools;
  readonly clock: { mono(): number };
  readonly wallNow: () => number;
  readonly emit: Emit;
  readonly firstCheckAt: (startedAt: number, limits: RunLimits) => number;
  /** How long an exited run of a stage that declares no grace may take to be settled, as it is set now. */
  readonly finalizeGraceMs: () => DurationMs;
  readonly stopGraceMs: () => number;
  readonly killGraceMs: () => number;
  readonly url: () => string | undefined;
  /** The present session. */
  readonly workerId: () => WorkerId;
  readonly tokenOf: (runId: RunId) => string | undefined;
  /** Sessions of this host: never signalled, nor what is below them. */
  readonly shielded: () => readonly ProcessIdentity[];
}

/** The limits that a run of this stage starts with: those that the stage declares. */
export const limitsOf = (stage: Pick<StageDefinition, "timeoutMs" | "heartbeat" | "maxRunningMs">): RunLimits => ({
  ...(stage.maxRunningMs === undefined ? {} : { maxRunningMs: stage.maxRunningMs }),
  ...(stage.timeoutMs === undefined ? {} : { timeoutMs: stage.timeoutMs }),
  ...(stage.heartbeat === undefined ? {} : { heartbeatTimeoutMs: stage.heartbeat.timeoutMs }),
});
