import { asRunId, type RunId } from "../../domain/ids.ts";
import type { EndedBy } from "../../liveness/exit-policy.ts";
import { readStart, runFiles } from "./run-files.ts";

interface RecordOf {
  readonly runDir: string;
  readonly runId: RunId;
  /** The command was seen to start, whatever its folder shows now: a record that says otherwise is not believed. Default: false. */
  readonly commandSeen?: boolean;
}

/**
 * A run's end as its wrapper recorded it: one line, `<run id> <status> <boot id>`, over a file filled with blanks at the start (so that a
 * full disk cannot prevent it), synced, then renamed to `exit`.
 */
export type ExitRecord =
  | { readonly kind: "none" }
  /** No whole record, or one that cannot be true: not believed. */
  | { readonly kind: "torn" }
  /** Whole, but another run's. */
  | { readonly kind: "foreign"; readonly runId: RunId }
  /** `status` is the shell's, 0 to 255: 128 + n is signal n, or the command's own code. `writtenAtHostMs` is a hint that decides nothing. */
  | { readonly kind: "exit"; readonly status: number; readonly bootId: string; readonly writtenAtHostMs: number }
  /** The wrapper's starter vanished or withdrew before the command began: nothing was executed. */
  | { readonly kind: "nogo"; readonly bootId: string; readonly writtenAtHostMs: number };

/** Longer than any record (run id up to 16 digits, boot id 36 characters), and far below a disk block, so that a write is one block's. */
export const exitRecordBytes = 128;

/** The file's content before the end: blanks without a line end, which no reader takes for a record. */
export const blankExitRecord = " ".repeat(exitRecordBytes);

const recordPattern = /^([1-9]\d{0,15}) (nogo|\d{1,3}) ([0-9A-Za-z-]{8,64})\n/;

/** Parses a record file. `draft`: not renamed yet, so blanks are normal. Pure. */
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
 * Reads how a run ended. A whole record that was never renamed is believed too: its text proves it whole, and the rename only protects
 * against a loss of power. Throws when the disk cannot be read.
 */
export async function readExitRecord({ runDir, runId, commandSeen = false }: RecordOf): Promise<ExitRecord> {
  const { exit, exitDraft } = runFiles(runDir);
  // A second round when both names were missed: the rename may have happened between the two reads.
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

const endedByPattern = /^([1-9]\d{0,15}) (signal|code)\n/;

/**
 * How the command of a run with an exit record ended: one line, `<run id> signal|code|unknown`, written before that record. Undefined: its
 * wrapper did not know or is of an earlier version, or the disk cannot be read. Never rejects.
 */
export async function readEndedBy({ runDir, runId }: Pick<RecordOf, "runDir" | "runId">): Promise<EndedBy> {
  const start = await readStart(runFiles(runDir).endedBy, exitRecordBytes).catch(() => undefined);
  const [, recordedRun, word] = endedByPattern.exec(start?.text ?? "") ?? [];
  return recordedRun === String(runId) ? (word as EndedBy) : undefined;
}
