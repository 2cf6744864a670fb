/**
 * Wakeful for programs: pipelines as data, handlers, the client of a daemon's API, and a worker inside the own process.
 * Importing this loads neither a database driver nor the daemon; {@link startEmbedded} loads its driver when it is called.
 */
import type { Embedded, EmbeddedOptions } from "./embedded/embedded.ts";

export { ConfigError } from "./config/mistake.ts";
export { type ErrorCode, errorCodes } from "./domain/error-codes.ts";
export { isWakefulError, WakefulError } from "./domain/errors.ts";
export type { HostId, ItemId, JobId, RunId, VisitId, WorkerId } from "./domain/ids.ts";
export type { ItemState, VisitState } from "./domain/lifecycles/item.ts";
export type { JobState } from "./domain/lifecycles/job.ts";
export type { RunOutcome, RunState } from "./domain/lifecycles/run.ts";
export type { WorkerState } from "./domain/lifecycles/worker.ts";
export type { DurationMs, Instant } from "./domain/time.ts";
export { version } from "./domain/version.ts";
export type { Embedded, EmbeddedLogLine, EmbeddedOptions, EmbeddedTask, EnqueueOptions } from "./embedded/embedded.ts";
export type { Json, PipelineDefinition, StageDefinition } from "./pipelines/definition.ts";
export type { HandlerContext, HandlerJob, StageHandler } from "./pipelines/handler.ts";
export type { CommandRunInput as CommandRun, HandlerRun, PipelineInput } from "./pipelines/reading/input.ts";
export { command, type DefinedPipeline, definePipeline, handler, isDefinedPipeline } from "./pipelines/reading/typescript.ts";
export { api } from "./protocol/api/index.ts";
export { type Client, type ClientOptions, createClient } from "./protocol/client.ts";
export type { AnswerOf, CallOf, Endpoint } from "./protocol/endpoint.ts";
export { socketTransport, type Transport, type TransportAnswer, type TransportRequest, urlTransport } from "./protocol/transport.ts";
export type { JobRow } from "./store/port/jobs.ts";
export {
  type Handler as TaskHandler,
  PermanentError,
  type TaskContext,
  type TaskJob,
} from "./worker/handlers/handler-context.ts";
export { type DefinedTask, defineTask, type TaskOptions } from "./worker/handlers/task.ts";

/**
 * Opens a store and runs a worker and the loops that repair plain jobs in this process, until {@link Embedded.stop}. What a dead
 * predecessor held is given back first. What embedding costs: `docs/embedded.md`.
 *
 * @example
 * const queue = await startEmbedded({
 *   store: "jobs.db",
 *   tasks: { mail: async (job: TaskJob<{ to: string }>, context) => send(job.payload.to, context.signal) },
 * });
 * const id = await queue.enqueue("mail", { to: "someone@example.com" });
 * const job = await queue.waitFor(id);
 * await queue.stop();
 * @throws {WakefulError} `store_locked`: another process owns the file; `bad_request`: an option out of its bounds; `store_newer`,
 * `store_corrupt`, `store_read_only`, `disk_full` and `unavailable` by what is wrong with the store.
 */
export async function startEmbedded<const Name extends string>(options: EmbeddedOptions<Name>): Promise<Embedded<Name>> {
  const embedded = await import("./embedded/embedded.ts");
  return await embedded.startEmbedded(options);
}
