import type { RunId } from "../../domain/ids.ts";
import { isNestedTooDeep, nestingRule } from "../../domain/json-nesting.ts";
import { maxOutputBytes } from "../../observe/run-output.ts";
import type { EndReport } from "../worker-backend.ts";
import { type ActiveRun, failureText, type HandlerEnd, isPermanent } from "./handler-context.ts";

const nothing: HandlerEnd = Object.freeze({ kind: "returned", output: undefined });

/** The end of a handler that returned, with its output as JSON text (`undefined`: none). An output that cannot be kept is a failure. */
export function endOfOutput(output: unknown): HandlerEnd {
  if (output === undefined || output === null) return nothing;
  let text: string | undefined;
  try {
    // The compiler takes the answer for a text, but a function or a symbol has none.
    text = JSON.stringify(output) as string | undefined;
  } catch (thrown) {
    return { kind: "bad_output", why: `its output is not JSON: ${failureText(thrown)}` };
  }
  if (text === undefined) return { kind: "bad_output", why: `its output is a ${typeof output}, which JSON cannot hold` };
  // Most outputs are far below the limit in characters, and then their bytes need no counting.
  const bytes = text.length * 3 <= maxOutputBytes ? 0 : Buffer.byteLength(text);
  if (bytes > maxOutputBytes) return { kind: "bad_output", why: `its output has ${bytes} bytes, at most ${maxOutputBytes} are kept` };
  if (isNestedTooDeep(text)) return { kind: "bad_output", why: `its output is too deep: ${nestingRule}` };
  return { kind: "returned", output: text };
}

export const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  value instanceof Promise || (typeof value === "object" && value !== null && "then" in value && typeof value.then === "function");

export const endOfThrown = (thrown: unknown): HandlerEnd => ({
  kind: "threw",
  message: failureText(thrown),
  permanent: isPermanent(thrown),
});

/** A handler that was asked to stop and threw has obeyed, unless it says that it can never succeed. Past its timeout nothing counts. */
export function endAfterRequest(asked: HandlerEnd, end: HandlerEnd): HandlerEnd {
  if (asked.kind === "timed_out") return asked;
  return end.kind === "threw" && !end.permanent ? asked : end;
}

export function reportOf({ claimed, start }: ActiveRun, ending: HandlerEnd, mayStillRun: boolean): EndReport {
  const { runId, ownerEpoch } = claimed;
  if (start === undefined && !mayStillRun) return { runId, ownerEpoch, ending };
  const folded = start === undefined ? undefined : { startedAt: start.startedAt, limits: start.limits };
  return { runId, ownerEpoch, ending, start: folded, mayStillRun };
}

/** For the log of a worker that stops. */
export function unwrittenText(runs: readonly RunId[]): string {
  const list = runs.slice(0, 20).join(", ") + (runs.length > 20 ? ` and ${runs.length - 20} more` : "");
  return `The ends of these runs could not be written before the stop: ${list}. They are given back once the session of their worker is over.`;
}
