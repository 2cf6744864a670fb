import type { StopGraces } from "../../domain/stop-within.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { PathAccess } from "../../files/foreign/path-operation.ts";
import type { PathDevices } from "../../files/path-devices.ts";
import type { ResultReader } from "../../gates/result-reader.ts";
import type { StageDefinition } from "../../pipelines/definition.ts";
import type { Host } from "../../processes/probe/host.ts";
import type { ProcessIdentity } from "../../processes/probe/identity.ts";
import type { WrapperTools } from "../../processes/wrapper/wrapper-tools.ts";
import type { RunLimits } from "../../store/port/runs.ts";
import type { Emit } from "../../telemetry/events.ts";
import type { EndedRuns } from "../ended-runs.ts";
import type { WorkerBackend } from "../worker-backend.ts";
import type { StartTroubles } from "./start-troubles.ts";

/** What all command runs of one worker share. */
export interface CommandRunDeps {
  readonly backend: WorkerBackend;
  readonly reader: ResultReader;
  readonly host: Host;
  readonly launch: CommandLaunch;
  readonly starts: StartTroubles;
  readonly stop: StopGraces;
  /** What of a run that is not ours any more is stopped, unless the run lives on under another supervisor. */
  readonly ended: Pick<EndedRuns, "stop">;
  /** A start that was confirmed longer ago, suspends included, is confirmed once more before its command may run. */
  readonly goWithinMs: DurationMs;
  /** The sessions' processes of this host: never signalled, nor anything below them. */
  readonly shielded: () => readonly ProcessIdentity[];
  readonly emit: Emit;
}

/** What commands are started with, beside what their stage says. */
export interface CommandLaunch {
  readonly tools: WrapperTools;
  readonly baseDir: string;
  /** How secrets, programs and work directories of commands are reached. */
  readonly access: PathAccess;
  readonly devices: PathDevices;
  /** What commands take their allowed variables from. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** The limits that a run of this stage starts with: those that it declares. */
export const declaredLimits = (stage: Pick<StageDefinition, "timeoutMs" | "heartbeat" | "maxRunningMs">): RunLimits => ({
  maxRunningMs: stage.maxRunningMs,
  timeoutMs: stage.timeoutMs,
  heartbeatTimeoutMs: stage.heartbeat?.timeoutMs,
});
