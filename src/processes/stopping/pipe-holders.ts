import { basename } from "node:path";
import type { ProcessIdentity } from "../probe/identity.ts";
import type { OpenFiles } from "../probe/open-files.ts";
import { identityOf } from "../probe/own-identity.ts";
import { isZombie, type ProcessRow } from "../probe/process-stat.ts";
import { runFiles } from "../run-folder/run-files.ts";
import { hereOnly, type RunTree } from "./strays.ts";

/** A process, and what it was started as where that may be seen. */
export interface NamedProcess {
  readonly process: ProcessIdentity;
  readonly command: string | undefined;
}

/** Who holds a run's life pipe, as far as it can be seen. */
export interface PipeSight {
  /** Younger than the run and with the pipe open as its wrapper handed it down: of the run, unless another run or a shield claims it. */
  readonly holders: readonly NamedProcess[];
  /** Hold it too, but opened it by themselves, are older than the run, or live in another pid namespace: never touched. */
  readonly strangers: readonly NamedProcess[];
  /** Younger than the run, and their open files may not be seen from here; threads of the kernel are left out. */
  readonly unseen: readonly NamedProcess[];
}

/**
 * Looks for the holders of a run's life pipe in the open files of all processes. For a run of which nothing else is to be seen: a process that
 * left its session, its parents and its environment behind still has the pipe that it inherited. It costs a walk through every open file of
 * the host, so nobody looks here before all cheaper signs are used up. Finds nothing where the platform does not tell (macOS).
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

/** Whether a process began before the run did, so that it cannot have inherited anything of it. Without any record of the run: yes. */
function isOlder(row: ProcessRow, { host, wrapper, command }: RunTree): boolean {
  const first = hereOnly(host, wrapper) ?? hereOnly(host, command);
  return first === undefined || Number(row.startTime) < Number(first.startTime);
}
