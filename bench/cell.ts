import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { BenchError } from "./bench-error.ts";
import { runChild } from "./child.ts";

export const repository = fileURLToPath(new URL("..", import.meta.url));

/** What a cell measured: numbers, or under `samples` a list of them. */
export type Answer = Readonly<Record<string, number>>;

/** Runs one cell (a file below `bench/`) in a process of its own, so that no cell inherits another's heap, caches or open files. */
export type RunCell = (file: string, question: object, withinMs?: number) => Promise<Answer>;

export interface CellPlace {
  /** The checkout whose `bench/` has the cell. */
  readonly checkout: string;
  readonly env?: NodeJS.ProcessEnv | undefined;
  readonly signal: AbortSignal;
}

/** Many times what the longest takes on a busy machine. */
const usualMs = 300_000;

export function cellRunner({ checkout, env, signal }: CellPlace): RunCell {
  return async (file, question, timeoutMs = usualMs) => {
    const typescript = file.endsWith(".ts") ? ["--import", "tsx"] : [];
    const args = [...typescript, join(checkout, "bench", file), JSON.stringify(question)];
    const { code, out, err } = await runChild(process.execPath, args, { cwd: checkout, env, signal, timeoutMs });
    const last = out.trim().split("\n").at(-1) ?? "";
    if (code !== 0 || !last.startsWith("{"))
      throw new BenchError("cell_failed", `${file} ${JSON.stringify(question)} ended with ${String(code)}: ${err.trim().slice(-2000)}`);
    return JSON.parse(last) as Answer;
  };
}
