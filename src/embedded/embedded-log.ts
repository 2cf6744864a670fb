import { logMaxBytesDefault } from "../domain/log-limits.ts";
import type { Instant } from "../domain/time.ts";
import type { HandlerReports } from "../worker/handlers/handler-context.ts";
import type { EmbeddedLogLine, EmbeddedTask } from "./embedded-options.ts";

export interface EmbeddedRunLogOptions {
  readonly tasks: ReadonlyMap<string, Pick<EmbeddedTask, "logMaxBytes">>;
  readonly log: (line: EmbeddedLogLine) => void;
  readonly now: () => Instant;
}

/**
 * Hands lines of handlers to the application's own log, as many bytes of each run as its task allows. What went there cannot be cut
 * afterwards as a file can, so it is the oldest part that stays: the line that would pass the limit is told as the loss, those after it not at all.
 */
export function embeddedRunLog({ tasks, log, now }: EmbeddedRunLogOptions): HandlerReports["log"] {
  return (run, said: unknown) => {
    // The compiler cannot keep anything else out of JavaScript, and work must not fail for its log.
    const line = typeof said === "string" ? said : `(a log line that is a ${typeof said})`;
    const maxBytes = tasks.get(run.queue)?.logMaxBytes ?? logMaxBytesDefault;
    if (run.loggedBytes > maxBytes) return;
    run.loggedBytes += Buffer.byteLength(line) + 1;
    const told =
      run.loggedBytes > maxBytes ? `[wakeful] more than ${maxBytes} bytes (logMaxBytes): the rest of this run's lines is dropped` : line;
    log({ level: "info", event: "run.log", at: now(), data: { runId: run.runId, line: told } });
  };
}
