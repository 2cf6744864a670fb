import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunCell } from "../cell.ts";
import type { QueueCell } from "../queue/cells.ts";
import { isGrown } from "../queue/growth-cells.ts";
import type { CellServers, RunsCells } from "./cell-servers.ts";

export interface GrowOptions {
  readonly cells: readonly QueueCell[];
  readonly servers: CellServers;
  /** How many jobs each store has finished before it is measured. */
  readonly finished: number;
  readonly runCell: RunCell;
  readonly say: (line: string) => void;
}

/** Ten million rows with their indexes take minutes to write. */
const growWithinMs = 3_600_000;

/** Stores with a long history, filled once for all rounds. Other cells get an empty store. */
export async function withGrownStores(options: GrowOptions, body: (stores: RunsCells) => Promise<void>): Promise<void> {
  const { cells, servers, finished, runCell, say } = options;
  const folder = mkdtempSync(join(process.env["WAKEFUL_BENCH_DIR"] ?? tmpdir(), "wakeful-bench-"));
  chmodSync(folder, 0o711);
  const grow = async (question: object): Promise<object> => {
    say(`filling a store with ${finished} finished jobs`);
    const { seconds } = await runCell("cells/queue-grow.ts", { ...question, finished }, growWithinMs);
    say(`filled in ${Math.round(seconds ?? Number.NaN)} s`);
    return question;
  };
  const grown = new Map<string, object>();
  const wanted = (subject: string): boolean => cells.some((cell) => isGrown(cell) && cell.subject === subject);
  const stores: RunsCells = {
    run: async (cell, run) => {
      if (!isGrown(cell)) return await servers.run(cell, run);
      return await run({ ...cell.question, ...grown.get(cell.subject) });
    },
  };
  try {
    if (wanted("wakeful-sqlite"))
      grown.set("wakeful-sqlite", await grow({ store: join(folder, "grown.db"), dataDir: join(folder, "sqlite") }));
    if (!wanted("wakeful-postgres")) return await body(stores);
    await servers.inStore("wakeful-postgres", async (server) => {
      grown.set("wakeful-postgres", await grow({ ...server, dataDir: join(folder, "postgres") }));
      await body(stores);
    });
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  }
}
