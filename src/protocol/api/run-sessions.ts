import { z } from "zod";
import { endpoint } from "../endpoint.ts";
import { done, durationMs, pathId, rowId } from "../wire.ts";
import { processWire } from "./rows.ts";

/** What `wakeful run` says to its daemon. Only processes of the daemon's host may: the run is judged by their pids and files. */
const shared = { method: "POST", tag: "run-sessions", access: "admin" } as const;

const runParams = z.strictObject({ runId: pathId });
const fence = { workerId: rowId, ownerEpoch: z.int().min(1) };
const processBody = z.strictObject(processWire.shape);

/** A command line as people are shown it; longer ones are cut by the caller. */
export const argvWireMax = { words: 100, characters: 2000 } as const;

const openRunSession = endpoint({
  ...shared,
  path: "/v1/run-sessions",
  summary: "Opens a session with a run of the built-in task `run`, which that session holds. Its command is not started yet.",
  body: z.strictObject({
    argv: z
      .array(z.string().max(argvWireMax.characters))
      .min(1)
      .max(argvWireMax.words)
      .meta({ description: "What runs, for people; may be cut." }),
    cwd: z.string().min(1).max(4096),
    process: processBody.meta({ description: "The command line's own process." }),
  }),
  answer: z.object({
    workerId: rowId,
    runId: rowId,
    jobId: rowId,
    ownerEpoch: z.int().min(1),
    runDir: z.string().meta({ description: "Where the caller writes its command's identity and its end." }),
    renewMs: durationMs,
  }),
});

const startRunSession = endpoint({
  ...shared,
  path: "/v1/run-sessions/:runId/start",
  summary: "The command is about to start. `started: false`: the run was ended meanwhile, and the command must not be started.",
  params: runParams,
  body: z.strictObject({ ...fence, process: processBody }),
  answer: z.object({ started: z.boolean() }),
});

const commandOfRunSession = endpoint({
  ...shared,
  path: "/v1/run-sessions/:runId/command",
  summary: "The command's own process, by which the run lives from now on. `recorded: false`: the run has ended.",
  params: runParams,
  body: z.strictObject({ ...fence, process: processBody }),
  answer: z.object({ recorded: z.boolean() }),
});

const renewRunSession = endpoint({
  ...shared,
  path: "/v1/run-sessions/:runId/renew",
  summary: "The session is there and holds its run. `lost` says why it does not any more.",
  params: runParams,
  body: z.strictObject(fence),
  answer: z.object({ lost: z.string().nullable() }),
});

const endRunSession = endpoint({
  ...shared,
  path: "/v1/run-sessions/:runId/end",
  summary: "The command has ended: 0 is done, anything else failed. Repeatable. `recorded: false`: the run had ended otherwise.",
  params: runParams,
  body: z.strictObject({
    ...fence,
    exitCode: z.int().min(0).max(255).meta({ description: "128 + n for signal n." }),
  }),
  answer: z.object({ recorded: z.boolean() }),
});

const abandonRunSession = endpoint({
  ...shared,
  path: "/v1/run-sessions/:runId/abandon",
  summary: "The command was never started, and is not to be.",
  params: runParams,
  body: z.strictObject({ ...fence, reason: z.string().min(1).max(1000) }),
  answer: done,
});

export const runSessionsApi = { openRunSession, startRunSession, commandOfRunSession, renewRunSession, endRunSession, abandonRunSession };
