import { withoutControls } from "../protocol/terminal-text.ts";

export interface Column<Row> {
  readonly title: string;
  readonly of: (row: Row) => string | number | null;
  /** Applied after the width is measured. */
  readonly paint?: (text: string) => string;
}

const cellMax = 60;

/** Rows as aligned text, one line each; empty cells are `-`, long ones are cut, and nothing in them can command a terminal. */
export function tableText<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string {
  const cells = rows.map((row) => columns.map((column) => cellText(column.of(row))));
  const widths = columns.map(({ title }, index) => Math.max(title.length, ...cells.map((line) => (line[index] ?? "").length)));
  const lineOf = (texts: readonly string[], paint: boolean): string =>
    texts
      .map((text, index) => {
        const padded = index === texts.length - 1 ? text : text.padEnd(widths[index] ?? 0);
        const column = columns[index];
        return paint && column?.paint !== undefined ? column.paint(padded) : padded;
      })
      .join("  ")
      .trimEnd();
  return [
    lineOf(
      columns.map(({ title }) => title),
      false,
    ),
    ...cells.map((line) => lineOf(line, true)),
  ]
    .map((line) => `${line}\n`)
    .join("");
}

function cellText(value: string | number | null): string {
  if (value === null || value === "") return "-";
  const text = withoutControls(String(value)).replaceAll(/\s+/g, " ");
  return text.length > cellMax ? `${text.slice(0, cellMax - 1)}…` : text;
}

const stateColours: Readonly<Record<string, string>> = {
  done: "32",
  live: "32",
  passed: "32",
  returned: "33",
  running: "36",
  started: "36",
  active: "36",
  exited: "36",
  held: "33",
  paused: "33",
  draining: "33",
  scheduled: "33",
  failed: "31",
  dead: "31",
  cancelled: "2",
  stopped: "2",
  queued: "0",
  free: "2",
};

/** Paints a state's name; without colour it stays as it is. */
export function statePainter(colour: boolean): (text: string) => string {
  return (text) => {
    const code = colour ? stateColours[text.trim()] : undefined;
    return code === undefined ? text : `\u001b[${code}m${text}\u001b[0m`;
  };
}
