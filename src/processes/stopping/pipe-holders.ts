import { basename } from "node:path";
import type { ProcessIdentity } from "../probe/identity.ts";
import type { OpenFiles } from "../probe/open-files.ts";
import { identityOf } from "../probe/own-identity.ts";
import { isZombie, type ProcessRow } from "../probe/process-stat.ts";
import { runFiles } from "../run-folder/run-files.ts";
import { hereOnly, type RunTree } from "./strays.ts";

/** A process, and its command line where that may be seen. */
export interface NamedProcess {
  readonly process: ProcessIdentity;
  readonly command: string | undefined;
}

/** Who holds a run's life pipe, as far as it can be seen. */
export interface PipeSight {
  /** Younger than the run, with the pipe open as its wrapper handed it down: of the run, unless another run or a shield claims it. */
  readonly holders: readonly NamedProcess[];
  /** Hold it too, but opened it themselves, are older than the run, or live in another pid namespace: never signalled. */
  readonly strangers: readonly NamedProcess[];
  /** Younger than the run, with open files that may not be seen from here. Kernel threads are left out. */
  readonly unseen: readonly NamedProcess[];
}

/**
 * Finds the holders of a run's life pipe in all open files of the host, for what left its session, parents and environment. Use it last: it
 * walks every open file. Finds nothing on macOS, which does not tell.
 */
export function lookAtPipe(tree: RunTree, { runDir, files }: { readonly runDir: string; readonly files: OpenFiles }): PipeSight {
  const { host, table } = tree;
  const path = runFiles(runDir).lifePipe;
  const pipe = files.identifyFifo(path);
  const holders: NamedProcess[] = [];
  const strangers: NamedProcess[] = [];
  const unseen: NamedProcess[] = [];
  if (pipe === undefined) return { holders, strangers, unseen };
  const name = basename(path);
  for (const row of table.list()) {
    if (row.pid === process.pid || isZombie(row)) continue;
    const grip = files.gripOf(row.pid, pipe, name);
    if (grip === "none") continue;
    const named = { process: identityOf(host, row), command: files.commandLineOf(row.pid) };
    if (grip === "unseen") {
      if (named.command !== undefined && !isOlder(row, tree)) unseen.push(named);
      continue;
    }
    const inherited = grip === "both" && !isOlder(row, tree) && files.pidNamespaceOf(row.pid) === host.pidNamespace;
    (inherited ? holders : strangers).push(named);
  }
  return { holders, strangers, unseen };
}

/** Whether a process started before the run, and so inherited nothing of it. Without any record of the run: yes. */
function isOlder(row: ProcessRow, { host, wrapper, command }: RunTree): boolean {
  const first = hereOnly(host, wrapper) ?? hereOnly(host, command);
  return first === undefined || Number(row.startTime) < Number(first.startTime);
}
