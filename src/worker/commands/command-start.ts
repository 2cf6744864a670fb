import { isWakefulError, messageOf } from "../../domain/errors.ts";
import type { Instant } from "../../domain/time.ts";
import type { StartedWrapper } from "../../processes/wrapper/wrapper.ts";
import type { RunLimits } from "../../store/port/runs.ts";
import type { ClaimedWork, NotStartedCause, RunEnding } from "../worker-backend.ts";
import type { CommandRunDeps } from "./command-run-deps.ts";
import type { OwnedRun } from "./owned-run.ts";
import { committedOrAbandoned, prepareCommand } from "./prepare-command.ts";

/**
 * Brings the wrapper of a claimed run to the point where it waits for `go`, and commits the start. Undefined: the store has refused it, the
 * run is not ours any more, and the wrapper withdraws.
 */
export async function startCommand(
  deps: CommandRunDeps,
  claimed: ClaimedWork,
  run: OwnedRun,
  { workDir, limits }: { readonly workDir: string | undefined; readonly limits: RunLimits },
): Promise<{ readonly wrapper: StartedWrapper; readonly startedAt: Instant } | undefined> {
  const { backend } = deps;
  const { stage, runDir, fence, workerId } = run;
  const wrapper = await prepareCommand(deps, claimed, { stage, runDir, workDir });
  // What preparing took is not the command's: its limits count from here.
  const startedAt = backend.now();
  const [answer] = await committedOrAbandoned(wrapper, () =>
    backend.start(workerId, [{ ...fence, startedAt, wrapper: wrapper.identity, limits }]),
  );
  if (answer?.kind === "ok" || answer?.kind === "already") return { wrapper, startedAt };
  wrapper.abandon();
  return undefined;
}

/** How a run ended that could not be started: nothing of its command has run. */
export function failedStart(thrown: unknown): RunEnding {
  return { kind: "not_started", cause: causeOf(thrown), why: `could not be started: ${messageOf(thrown)}` };
}

function causeOf(thrown: unknown): NotStartedCause {
  if (!isWakefulError(thrown)) return "failed";
  if (thrown.code === "run_dir_exists") return "run_dir_exists";
  return thrown.retryable ? "unavailable" : "failed";
}
