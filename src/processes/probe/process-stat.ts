/** What the kernel says about one process at one moment. Pids are of the reader's namespace. */
export interface ProcessRow {
  readonly pid: number;
  readonly parentPid: number;
  readonly groupId: number;
  /** 0 where the platform does not tell (macOS). */
  readonly sessionId: number;
  /** The first letter of the state: R, S, D, T, t, Z, X, I. */
  readonly state: string;
  /** Linux: clock ticks since boot, as printed. macOS: the second of its start, blanks replaced by `_`. Only ever compared for equality. */
  readonly startTime: string;
}

/** Parses `/proc/PID/stat`. The process name may hold blanks, newlines and parentheses, so fields are counted from the last `)`. */
export function parseProcStat(text: string): ProcessRow | undefined {
  const open = text.indexOf("(");
  const close = text.lastIndexOf(")");
  if (open < 0 || close < open) return undefined;
  const pid = Number(text.slice(0, open));
  const fields = text
    .slice(close + 1)
    .trim()
    .split(/\s+/);
  const state = fields[0];
  const startTime = fields[19];
  const numbers = [pid, Number(fields[1]), Number(fields[2]), Number(fields[3])];
  if (state === undefined || startTime === undefined || !/^\d+$/.test(startTime) || !numbers.every(Number.isInteger)) return undefined;
  const [, parentPid = 0, groupId = 0, sessionId = 0] = numbers;
  return { pid, parentPid, groupId, sessionId, state: state.slice(0, 1), startTime };
}

/** Parses `ps -o pid=,ppid=,pgid=,stat=,lstart=` of macOS (run with LC_ALL=C and TZ=UTC0, as the wrapper does). */
export function parsePsLine(line: string): ProcessRow | undefined {
  const fields = line.trim().split(/\s+/);
  const [pid = Number.NaN, parentPid = Number.NaN, groupId = Number.NaN] = fields.slice(0, 3).map(Number);
  const state = fields[3];
  if (fields.length !== 9 || state === undefined || ![pid, parentPid, groupId].every(Number.isInteger)) return undefined;
  return { pid, parentPid, groupId, sessionId: 0, state: state.slice(0, 1), startTime: fields.slice(4).join("_") };
}

/** A zombie has ended: only its exit status waits for its parent. */
export const isZombie = (row: ProcessRow): boolean => row.state === "Z" || row.state === "X" || row.state === "x";

/** Stopped by SIGSTOP (`T`) or by a tracer (`t`). */
export const isFrozen = (row: ProcessRow): boolean => row.state === "T" || row.state === "t";
