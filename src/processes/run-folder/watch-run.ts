import { type FSWatcher, watch } from "node:fs";
import { messageOf } from "../../domain/errors.ts";

/** `command`: the command may have recorded itself. `exit`: the exit record may be there. A hint proves nothing; read the file. */
export type RunHint = "command" | "exit";

export interface RunWatch {
  /** Why no hints will come (no more watches on this host, directory gone); `undefined` while they may. */
  readonly broken: string | undefined;
  close(): void;
}

const hintOf: Readonly<Record<string, RunHint>> = { command: "command", exit: "exit", "exit.new": "exit" };

/**
 * Watches `runs/<id>` for its `command` and exit records. Hints may come late, twice or never, so the tick decides. Never throws, and keeps
 * no process alive.
 */
export function watchRun({ runDir, onHint }: { readonly runDir: string; readonly onHint: (hint: RunHint) => void }): RunWatch {
  let broken: string | undefined;
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(runDir, { persistent: false }, (_event, name) => {
      const hint = name === null ? undefined : hintOf[name];
      if (hint !== undefined) onHint(hint);
    });
    watcher.on("error", (error) => {
      broken = messageOf(error);
      watcher?.close();
    });
  } catch (error) {
    // Most likely too many watches on this host. The tick sees everything that a hint would have announced.
    broken = messageOf(error);
  }
  return {
    get broken() {
      return broken;
    },
    close: () => watcher?.close(),
  };
}
