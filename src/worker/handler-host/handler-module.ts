import { pathToFileURL } from "node:url";
import { spanText } from "../../domain/durations.ts";
import { hasCode, WakefulError } from "../../domain/errors.ts";
import type { DurationMs } from "../../domain/time.ts";
import type { StageHandler } from "../../pipelines/handler.ts";
import { isDefinedPipeline } from "../../pipelines/reading/typescript.ts";
import { failureText } from "../handlers/handler-context.ts";
import { type DefinedTask, isDefinedTask } from "../handlers/task.ts";

/** What a user's module brings. */
export interface LoadedHandlers {
  readonly tasks: ReadonlyMap<string, DefinedTask>;
  /** By the name that stages use. */
  readonly stageHandlers: ReadonlyMap<string, StageHandler>;
}

/**
 * Imports a module and collects its handlers: exported functions under their names, tasks, pipelines with the functions inside them, and
 * lists of these; a default export may be a configuration with `pipelines` and `tasks`.
 *
 * @throws {WakefulError} `config_invalid`, with what is wrong: it throws, never finishes loading, exports nothing of use, or one name twice.
 */
export async function loadHandlers(path: string, options: { readonly timeoutMs: DurationMs }): Promise<LoadedHandlers> {
  const tasks = new Map<string, DefinedTask>();
  const stageHandlers = new Map<string, StageHandler>();
  const addHandler = (name: string, handler: StageHandler): void => {
    const known = stageHandlers.get(name);
    if (known !== undefined && known !== handler) throw unloadable(path, `two different functions are called "${name}"`);
    stageHandlers.set(name, handler);
  };
  const addTask = (task: DefinedTask): void => {
    const known = tasks.get(task.name);
    if (known !== undefined && known !== task) throw unloadable(path, `two tasks are called "${task.name}"`);
    tasks.set(task.name, task);
  };
  const add = (value: unknown): void => {
    if (isDefinedTask(value)) addTask(value);
    else if (isDefinedPipeline(value)) for (const [name, handler] of value.handlers) addHandler(name, handler);
    else if (Array.isArray(value)) for (const each of value as readonly unknown[]) add(each);
  };
  for (const [name, value] of Object.entries(await importModule(path, options.timeoutMs))) {
    if (typeof value === "function" && name !== "default") addHandler(name, value as StageHandler);
    else if (name === "default" && isConfiguration(value)) for (const part of [value.pipelines, value.tasks]) addAll(part, add);
    else add(value);
  }
  if (tasks.size === 0 && stageHandlers.size === 0) {
    throw unloadable(path, "it exports no handler: export functions, tasks (defineTask) or pipelines (definePipeline)");
  }
  return { tasks, stageHandlers };
}

function addAll(part: unknown, add: (value: unknown) => void): void {
  if (typeof part !== "object" || part === null) return;
  if (isDefinedPipeline(part) || isDefinedTask(part)) add(part);
  else for (const each of Object.values(part)) add(each);
}

const isConfiguration = (value: unknown): value is { readonly pipelines?: unknown; readonly tasks?: unknown } =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !isDefinedPipeline(value) && !isDefinedTask(value);

async function importModule(path: string, timeoutMs: DurationMs): Promise<Record<string, unknown>> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it has not finished loading after ${spanText(timeoutMs)}`)), timeoutMs);
  });
  try {
    return (await Promise.race([import(pathToFileURL(path).href), late])) as Record<string, unknown>;
  } catch (thrown) {
    const typescript = hasCode(thrown, "ERR_UNKNOWN_FILE_EXTENSION");
    throw unloadable(
      path,
      typescript ? "this Node.js reads no TypeScript: use 22.18 or newer, or compile it to JavaScript" : failureText(thrown),
      thrown,
    );
  } finally {
    clearTimeout(timer);
  }
}

const unloadable = (path: string, why: string, cause?: unknown): WakefulError =>
  new WakefulError("config_invalid", `The handlers module ${path} cannot be used: ${why}.`, { cause, details: { path } });
