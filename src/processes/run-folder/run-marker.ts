import { asHostId, asRunId, type HostId, type RunId } from "../../domain/ids.ts";

/** In the environment of every process of a run, so that it is found after it left its session and its parents. */
export const markerVariable = "WAKEFUL_RUN_MARKER";

export interface RunMarker {
  readonly runId: RunId;
  readonly hostId: HostId;
}

export const formatMarker = ({ runId, hostId }: RunMarker): string => `${runId}:${hostId}`;

export function parseMarker(text: string | undefined): RunMarker | undefined {
  const match = text === undefined ? null : /^([1-9]\d{0,15}):(\S+)$/.exec(text);
  return match?.[1] === undefined || match[2] === undefined ? undefined : { runId: asRunId(Number(match[1])), hostId: asHostId(match[2]) };
}

/** The variables that name one run. A process that outlives the run, or serves others, must not pass them on. */
export const runVariables = [
  "WAKEFUL_JOB_ID",
  "WAKEFUL_RUN_ID",
  "WAKEFUL_ITEM_KEY",
  "WAKEFUL_STAGE",
  "WAKEFUL_ATTEMPT",
  "WAKEFUL_WORK_DIR",
  "WAKEFUL_HEARTBEAT_FILE",
  "WAKEFUL_PROGRESS_FILE",
  "WAKEFUL_INPUT_FILE",
  "WAKEFUL_OUTPUT_FILE",
  "WAKEFUL_URL",
  "WAKEFUL_TOKEN",
  "TRACEPARENT",
  markerVariable,
] as const;

type Environment = Readonly<Record<string, string | undefined>>;

/** The run in which this process was started, if any. A daemon or worker that finds one first restarts itself without it. */
export const ownMarker = (env: Environment): RunMarker | undefined => parseMarker(env[markerVariable]);

/** `env` without the variables of a run, for that restart. Changing `process.env` is not enough: /proc shows the original. */
export function cleanEnvironment(env: Environment): Record<string, string> {
  const names = new Set<string>(runVariables);
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined && !names.has(entry[0])),
  );
}
