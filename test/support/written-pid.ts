import { readFile } from "node:fs/promises";
import { until } from "./until.ts";

/** The pid that a process writes into a file. A file that is not there, or not written yet, is waited for. */
export const writtenPid = (path: string): Promise<number> =>
  until(
    async () => {
      const text = await readFile(path, "utf8").catch(() => "");
      return /^[1-9]\d*\n?$/.test(text) ? Number(text) : undefined;
    },
    { what: `a pid in ${path}`, everyMs: 5 },
  );
