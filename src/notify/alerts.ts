import { constants } from "node:fs";
import { mkdir, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { hasCode } from "../domain/errors.ts";
import type { Instant } from "../domain/time.ts";
import { lstatOrUndefined } from "../files/move-file.ts";
import { IrregularFileError, openRegular } from "../files/regular-file.ts";
import type { OutboxRow } from "../store/port/records.ts";
import type { Emit, WakefulEvents } from "../telemetry/events.ts";
import type { Deliverer } from "./deliverer.ts";

export interface AlertsOptions {
  readonly emit: Emit;
  /** The file that every alert is appended to, one line of JSON each. Absent: alerts are only events. */
  readonly file?: string | undefined;
  /** At this size the file is renamed to `<file>.1`, replacing the one of that name. Default 8 MiB. */
  readonly fileBytesMax?: number | undefined;
  readonly now: () => Instant;
}

const fileBytesMaxDefault = 8 * 2 ** 20;
const titleLettersMax = 300;

/** The file of the alerts below a data directory. */
export const alertsFile = (dataDir: string): string => join(dataDir, "alerts.jsonl");

/** Sends alerts to the event stream and to a file that survives the daemon. At least once: readers recognise repetitions by `cause`. */
export function createAlertDeliverer(options: AlertsOptions): Deliverer {
  const { emit, file, now, fileBytesMax = fileBytesMaxDefault } = options;
  return {
    kind: "alert",
    deliver: async (entry) => {
      const { cause, title, details } = alertOf(entry);
      // The file comes first: when it fails the entry is delivered again, and no event has been sent twice.
      if (file !== undefined) {
        await append({
          file,
          fileBytesMax,
          line: `${JSON.stringify({ at: new Date(now()).toISOString(), cause, title, details })}\n`,
        });
      }
      emit("alert.raised", { cause, title, details });
    },
  };
}

/** What an entry of the outbox tells. */
export function alertOf(entry: Pick<OutboxRow, "key" | "payload">): WakefulEvents["alert.raised"] {
  const details = detailsOf(entry);
  return { cause: entry.key, title: titleOf(entry.key, details), details };
}

function detailsOf(entry: Pick<OutboxRow, "payload">): Readonly<Record<string, unknown>> {
  try {
    const payload: unknown = JSON.parse(entry.payload);
    if (typeof payload === "object" && payload !== null && !Array.isArray(payload)) return payload as Record<string, unknown>;
    return { payload };
  } catch {
    // An alert with unreadable details is still an alert.
    return { payload: entry.payload };
  }
}

/** The alert in one line: its own title, or what happened to which job. */
function titleOf(cause: string, details: Readonly<Record<string, unknown>>): string {
  const text = (name: string): string | undefined => {
    const value = details[name];
    return typeof value === "string" || typeof value === "number" ? String(value) : undefined;
  };
  const what = text("title") ?? text("alert") ?? text("event") ?? cause;
  const job = text("jobId");
  const subject =
    text("title") !== undefined || job === undefined ? "" : ` (job ${job}${text("queue") === undefined ? "" : ` of ${text("queue")}`})`;
  const why = text("message") ?? text("reason");
  const title = `${what}${subject}${why === undefined ? "" : `: ${why}`}`;
  return title.length <= titleLettersMax ? title : `${title.slice(0, titleLettersMax - 1)}…`;
}

async function append({
  file,
  fileBytesMax,
  line,
}: {
  readonly file: string;
  readonly fileBytesMax: number;
  readonly line: string;
}): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const there = await lstatOrUndefined(file);
  if (there?.isFile() === true && Number(there.size) + line.length > fileBytesMax) await moveAside(file);
  // A command may have put a FIFO or a link there: neither may block the outbox or redirect it.
  const handle = await openRegular(file, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT);
  try {
    await handle.appendFile(line);
  } finally {
    await handle.close();
  }
}

async function moveAside(file: string): Promise<void> {
  const older = `${file}.1`;
  try {
    await rename(file, older);
  } catch (thrown) {
    if (hasCode(thrown, "EISDIR", "ENOTEMPTY", "EEXIST")) throw new IrregularFileError(older, { cause: thrown });
    throw thrown;
  }
}
