import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { hasCode, messageOf } from "../../domain/errors.ts";
import { relativeText } from "../../domain/instant-text.ts";
import { asInstant, hours } from "../../domain/time.ts";
import { alertsFile } from "../../notify/alerts.ts";
import { type DoctorFinding, ok, warning } from "./finding.ts";

/** How far back alerts are shown. */
const recentMs = hours(24);
/** Of the newest part of the file, which is far more than a day of alerts should be. */
const bytesMax = 256 * 1024;
const causesMax = 10;

interface Told {
  readonly at: number;
  readonly cause: string;
  readonly title: string;
}

/** The alerts of the last day, one line per cause with its newest text, whether or not anybody received them. */
export function checkAlerts(options: { readonly dataDir: string; readonly wall: number }): readonly DoctorFinding[] {
  const { dataDir, wall } = options;
  const end = readEnd(alertsFile(dataDir));
  if (end.kind === "unreadable")
    return [warning("alerts", `they cannot be read: ${end.why}`, "Call as the user who runs the daemon; move away what is no file.")];
  const recent = end.text
    .split("\n")
    .flatMap(toldIn)
    .filter(({ at }) => wall - at <= recentMs);
  if (recent.length === 0) return [ok("alerts", "none in the last 24 h")];
  const byCause = new Map<string, readonly Told[]>();
  for (const told of recent) byCause.set(told.cause, [...(byCause.get(told.cause) ?? []), told]);
  const causes = [...byCause.values()].sort((a, b) => (b.at(-1)?.at ?? 0) - (a.at(-1)?.at ?? 0));
  const findings = causes.slice(0, causesMax).flatMap((each): DoctorFinding[] => {
    const newest = each.at(-1);
    if (newest === undefined) return [];
    const often = each.length === 1 ? "" : `, ${each.length} times in 24 h`;
    const text = `${newest.title} (${relativeText(asInstant(newest.at), asInstant(wall))}${often})`;
    return [warning(`alert ${newest.cause}`, text, `Details are in ${alertsFile(dataDir)}.`)];
  });
  if (causes.length <= causesMax) return findings;
  return [...findings, warning("alerts", `and ${causes.length - causesMax} more causes`, `All are in ${alertsFile(dataDir)}.`)];
}

function toldIn(line: string): Told[] {
  try {
    const { at, cause, title } = JSON.parse(line) as { readonly at?: unknown; readonly cause?: unknown; readonly title?: unknown };
    const instant = Date.parse(String(at));
    return typeof cause === "string" && typeof title === "string" && Number.isFinite(instant) ? [{ at: instant, cause, title }] : [];
  } catch {
    // A line cut by the bound, or torn by a crash.
    return [];
  }
}

type End = { readonly kind: "read"; readonly text: string } | { readonly kind: "unreadable"; readonly why: string };

function readEnd(path: string): End {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (thrown) {
    // Before the first alert there is no file.
    const missing = hasCode(thrown, "ENOENT");
    return missing ? { kind: "read", text: "" } : { kind: "unreadable", why: messageOf(thrown) };
  }
  try {
    const found = fstatSync(file);
    if (!found.isFile()) return { kind: "unreadable", why: `${path} is no file` };
    const buffer = Buffer.alloc(Math.min(found.size, bytesMax));
    const length = readSync(file, buffer, 0, buffer.length, found.size - buffer.length);
    return { kind: "read", text: buffer.toString("utf8", 0, length) };
  } finally {
    closeSync(file);
  }
}
