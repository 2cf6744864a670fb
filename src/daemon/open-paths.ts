import type { Config } from "../config/config.ts";
import { spanText } from "../domain/durations.ts";
import { ForeignPaths } from "../files/foreign/foreign-paths.ts";
import type { HelperProgram } from "../files/foreign/path-helper.ts";
import { directAccess, type PathAccess } from "../files/foreign/path-operation.ts";
import type { Tell } from "../notify/raise-alert.ts";
import type { HostClock } from "../runtime/clock.ts";
import type { Undo } from "../runtime/start-or-undo.ts";

export interface PathsDeps {
  /** Absent: every path is taken for one of this machine. */
  readonly program: HelperProgram | undefined;
  readonly config: Pick<Config, "dataDir" | "disk">;
  readonly clock: Pick<HostClock, "mono">;
  readonly tell: Tell;
  readonly undo: Undo;
}

/** How a daemon reaches configured paths, and what it says of them. */
export interface DaemonPaths {
  readonly access: PathAccess;
  /** The shares that do not answer, in words. */
  readonly troubles: () => readonly string[];
  /** Those among these paths that do not answer, in words. */
  readonly troublesOf: (paths: readonly string[]) => readonly string[];
  /** Gives up every call to a share. */
  readonly close: () => void;
}

/** Nothing is started: a helper comes with the first call to a share. */
export function openPaths({ program, config, clock, tell, undo }: PathsDeps): DaemonPaths {
  if (program === undefined) return { access: directAccess, troubles: () => [], troublesOf: () => [], close: () => undefined };
  const access = new ForeignPaths({
    program,
    dataDir: config.dataDir,
    limitMs: config.disk.pathTimeoutMs,
    mono: () => clock.mono(),
    onHung: ({ point, path, afterMs, helperPid = null }) => {
      tell.emit("path.hung", { point, path, afterMs, helperPid });
      void tell.alert({
        cause: `path_hung:${point}`,
        title:
          `${point} does not answer: ${path} gave no sign for ${spanText(afterMs)}. What needs it waits, everything else goes on. ` +
          "See whether the server or program behind it answers; if it does not come back, take the mount away (`umount -l`) and mount it again",
        details: { point, path, afterMs, helperPid },
      });
    },
    onAnswers: ({ point, afterMs }) => {
      tell.emit("path.answered", { point, afterMs });
      void tell.alert({
        cause: `path_hung:${point}`,
        title: `${point} answers again after ${spanText(afterMs)}: what waited for it goes on. Nothing is to be done`,
        details: { point, afterMs },
      });
    },
  });
  undo.push(() => access.close());
  return { access, troubles: () => access.troubles(), troublesOf: (paths) => access.troublesOf(paths), close: () => access.close() };
}
