import { api } from "../../../src/protocol/api/index.ts";
import type { Client } from "../../../src/protocol/client.ts";

/** One line on how far the comics are; rewritten in place on a terminal, printed when it changed elsewhere. */
export class ProgressLine {
  #last = "";

  async show(client: Client): Promise<{ readonly done: number; readonly failed: number; readonly total: number }> {
    const [{ items }, { runs }] = await Promise.all([
      client.call(api.listItems, { query: { limit: 100 } }),
      client.call(api.listRuns, { query: { limit: 100 } }),
    ]);
    const done = items.filter((item) => item.state === "done").length;
    const failed = items.filter((item) => item.state === "failed" || item.state === "cancelled").length;
    const running = runs.map((run) => `${run.queue.replace("comics/", "")} ${percentOf(run.progress)}`).join(", ");
    this.#print(`  ${done} of ${items.length} comics done${running === "" ? "" : `; running: ${running}`}`);
    return { done, failed, total: items.length };
  }

  /** Before anything else is printed. */
  clear(): void {
    if (process.stdout.isTTY) process.stdout.write("\r\x1b[K");
  }

  #print(line: string): void {
    if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${line.slice(0, (process.stdout.columns ?? 100) - 1)}`);
    else if (line !== this.#last) process.stdout.write(`${line}\n`);
    this.#last = line;
  }
}

function percentOf(progress: unknown): string {
  if (typeof progress !== "object" || progress === null || !("done" in progress) || !("total" in progress)) return "…";
  return `${String(progress.done)}/${String(progress.total)}`;
}
