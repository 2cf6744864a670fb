import { codeOf, isWakefulError, messageOf } from "../../domain/errors.ts";
import { isUnanswered } from "../../files/foreign/path-operation.ts";
import { blameForStart, type StartFailure, type StartStep } from "../../liveness/start-blame.ts";
import { WrapperStartError } from "../../processes/errors.ts";
import type { NotStartedCause } from "../worker-backend.ts";

/** A step of a start that failed, before the wrapper was asked for. */
class StartStepError extends Error {
  override readonly name = "StartStepError";
  readonly step: StartStep;

  constructor(step: StartStep, cause: unknown) {
    super(messageOf(cause), { cause });
    this.step = step;
  }
}

/** Names the step in what it throws. */
export async function during<T>(step: StartStep, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    throw new StartStepError(step, thrown);
  }
}

/** Why a run was not started. Undefined `failure`: the machine has no part in it. */
export interface FailedStart {
  readonly cause: NotStartedCause;
  readonly failure: StartFailure | undefined;
}

/** @param isElsewhere - whether the stage's folder is on another device than when the daemon started. */
export async function classifyStart(thrown: unknown, isElsewhere: () => Promise<boolean>): Promise<FailedStart> {
  // The share has an alert and a probe of its own, and the queue waits for it: nothing else is to be tried.
  if (isUnanswered(thrown instanceof StartStepError ? thrown.cause : thrown)) return { cause: "machine", failure: undefined };
  const step = thrown instanceof StartStepError || thrown instanceof WrapperStartError ? thrown.step : undefined;
  if (step === undefined && isWakefulError(thrown)) {
    if (thrown.code === "run_dir_exists") return { cause: "run_dir_exists", failure: undefined };
    return { cause: thrown.retryable ? "unavailable" : "failed", failure: undefined };
  }
  const failure: StartFailure = { step, code: errnoOf(thrown), otherDevice: step === "cwd" && (await isElsewhere()) };
  return blameForStart(failure) === "job" ? { cause: "failed", failure: undefined } : { cause: "machine", failure };
}

/** The kernel's name of the error, which may lie below errors of ours. */
function errnoOf(thrown: unknown): string | undefined {
  for (let at = thrown; at instanceof Error; at = at.cause) {
    const code = codeOf(at);
    if (code !== undefined && /^E[A-Z0-9]+$/.test(code)) return code;
  }
  return undefined;
}
