import { mkdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Instant } from "../../domain/time.ts";
import type { StageDefinition } from "../../pipelines/definition.ts";
import { commandEnvironment } from "../../processes/wrapper/environment.ts";
import { type StartedWrapper, spawnWrapper } from "../../processes/wrapper/wrapper.ts";
import { startedUmask } from "../../runtime/umask.ts";
import type { RunLimits } from "../../store/port/runs.ts";
import { inputOf } from "../run-input.ts";
import type { ClaimedWork } from "../worker-backend.ts";
import type { CommandRunDeps } from "./command-run-deps.ts";
import type { OwnedRun } from "./owned-run.ts";
import type { StagePlaces } from "./stage-paths.ts";
import { during } from "./start-failure.ts";
import { traceparentOf } from "./trace-context.ts";

/** A wrapper that waits for `go`, whose start is committed. */
export interface StartedCommand {
  readonly wrapper: StartedWrapper;
  readonly startedAt: Instant;
}

/**
 * Brings the wrapper of a claimed run to where it waits for `go`, and commits the start. Undefined: the store refused, the run is not ours
 * any more, and the wrapper withdraws.
 */
export async function startCommand(
  deps: CommandRunDeps,
  claimed: ClaimedWork,
  run: OwnedRun,
  { workDir, limits, url, places }: Pick<PreparedRun, "workDir" | "url" | "places"> & { readonly limits: RunLimits },
): Promise<StartedCommand | undefined> {
  const { backend } = deps;
  const { stage, runDir, fence, workerId } = run;
  const wrapper = await prepareCommand(deps, claimed, { stage, runDir, workDir, url, places });
  // Limits count from here: preparation is not the command's time.
  const startedAt = backend.now();
  const [answer] = await committedOrAbandoned(wrapper, () =>
    backend.start(workerId, [{ ...fence, startedAt, wrapper: wrapper.identity, limits }]),
  );
  if (answer?.kind === "ok" || answer?.kind === "already") return { wrapper, startedAt };
  wrapper.abandon();
  return undefined;
}

interface PreparedRun {
  readonly stage: StageDefinition;
  readonly runDir: string;
  /** The item's work directory; undefined for a plain task. */
  readonly workDir: string | undefined;
  readonly url: string | undefined;
  readonly places: StagePlaces;
}

/**
 * Does everything before `go`: the item's folder, environment, input, and a wrapper that waits. Nothing of the command has run. Throws
 * typed errors.
 */
async function prepareCommand(
  deps: Pick<CommandRunDeps, "host" | "launch">,
  claimed: ClaimedWork,
  run: PreparedRun,
): Promise<StartedWrapper> {
  const { tools, environment } = deps.launch;
  const host = deps.host.identity;
  const { stage, runDir, workDir, url, places } = run;
  const { runId, jobId, attempt, item, token } = claimed;
  if (stage.run.kind !== "command") throw new Error(`Stage ${stage.name} is not run by a command.`);
  if (workDir !== undefined) {
    await during("work_dir", async () => await mkdir(workDir, { recursive: true, mode: 0o700 }));
    // The previous run's file would be a fresh heartbeat of this one. That run is proved stopped, else there were no claim. What cannot be
    // unlinked is no file and is ignored.
    await unlink(join(workDir, stage.compatible.heartbeatFile)).catch(() => undefined);
  }
  const env = commandEnvironment({
    workerEnv: environment,
    stageEnv: { ...stage.env, ...places.secrets },
    hostId: host.hostId,
    run: { runId, jobId, attempt, runDir, workDir: workDir ?? runDir, itemKey: item?.key, stage: stage.name },
    url,
    token,
    traceparent: traceparentOf(claimed),
  });
  return await spawnWrapper({
    runDir,
    runId,
    host,
    tools,
    argv: stage.run.argv,
    env,
    cwd: places.cwd,
    input: inputOf(claimed),
    surroundings: { stdin: stage.stdin, umask: startedUmask(), cwdIsForeign: places.cwdIsForeign },
  });
}

/** A wrapper whose start was not committed must not go; its record then says `nogo`. */
export async function committedOrAbandoned<T>(wrapper: StartedWrapper, commit: () => Promise<T>): Promise<T> {
  try {
    return await commit();
  } catch (thrown) {
    wrapper.abandon();
    throw thrown;
  }
}
