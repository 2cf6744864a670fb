import { asRunId, type RunId } from "../../domain/ids.ts";
import { readStart, runFiles } from "./run-files.ts";

interface RecordOf {
  readonly runDir: string;
  readonly runId: RunId;
  /** The command was seen to begin, whatever its folder shows by now: then nothing that says otherwise is believed. Default: false. */
  readonly commandSeen?: boolean;
}

/**
 * The end of a run, as its wrapper left it. One line, `<run id> <status> <boot id>`, written over a file that was filled with blanks
 * at the start (so that a full disk cannot swallow it), synced, and renamed to `exit`.
 *
 * `status` is the shell's: 0 to 255, where 128 + n means signal n, or a command that itself exited so.
 * `nogo`: the wrapper's starter vanished or withdrew before the command began; nothing was executed.
 * `torn`: something is there, but no whole record, or one that cannot be true: believed in nothing. `foreign`: whole, but another run's.
 * `writtenAtHostMs`: its mtime by the host's wall clock, a hint that decides nothing.
 */
export type ExitRecord =
  | { readonly kind: "none" }
  | { readonly kind: "torn" }
  | { readonly kind: "foreign"; readonly runId: RunId }
  | { readonly kind: "exit"; readonly status: number; readonly bootId: string; readonly writtenAtHostMs: number }
  | { readonly kind: "nogo"; readonly bootId: string; readonly writtenAtHostMs: number };

/** Longer than any record (a run id has up to 16 digits, a boot id 36 characters), far below a disk block, so a write is one block's. */
export const exitRecordBytes = 128;

/** What the file holds before the end: blanks without a line end, which no reader takes for a record. */
export const blankExitRecord = " ".repeat(exitRecordBytes);

const recordPattern = /^([1-9]\d{0,15}) (nogo|\d{1,3}) ([0-9A-Za-z-]{8,64})\n/;

/** Judges the text of a record file. `draft`: it has not been renamed yet, so blanks are normal. Pure. */
function parseExitRecord(options: {
  readonly text: string;
  readonly runId: RunId;
  readonly draft: boolean;
  readonly writtenAtHostMs: number;
}): ExitRecord {
  const { text, runId, draft, writtenAtHostMs } = options;
  const match = recordPattern.exec(text);
  if (match === null) return draft && text.trim() === "" ? { kind: "none" } : { kind: "torn" };
  const [, recordedRun = "", status = "", bootId = ""] = match;
  if (recordedRun !== String(runId)) return { kind: "foreign", runId: asRunId(Number(recordedRun)) };
  if (status === "nogo") return { kind: "nogo", bootId, writtenAtHostMs };
  return Number(status) > 255 ? { kind: "torn" } : { kind: "exit", status: Number(status), bootId, writtenAtHostMs };
}

/**
 * Reads how a run ended. A whole record that was not renamed yet (or never will be, its wrapper having died right then) is believed
 * as well: its text proves it whole, and the rename only protects against losing power. Throws when the disk cannot be read.
 */
export async function readExitRecord({ runDir, runId, commandSeen = false }: RecordOf): Promise<ExitRecord> {
  const { exit, exitDraft } = runFiles(runDir);
  // Once more from the top when both names were missed: the rename may have happened between the two looks.
  for (let round = 0; round < 2; round += 1) {
    for (const path of [exit, exitDraft]) {
      const start = await readStart(path, exitRecordBytes);
      if (start === undefined) continue;
      const record = parseExitRecord({ text: start.text, runId, draft: path === exitDraft, writtenAtHostMs: start.mtimeMs });
      return commandSeen && record.kind === "nogo" ? { kind: "torn" } : record;
    }
  }
  return { kind: "none" };
}
