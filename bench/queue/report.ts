import type { Figure } from "../figure.ts";
import type { QueueCell } from "./cells.ts";
import { barChart, grouped } from "./chart.ts";
import { measureNames } from "./measures.ts";
import type { Readings } from "./readings.ts";
import type { StatementTime } from "./server-meter.ts";

export interface Report {
  readonly title: string;
  readonly rounds: number;
  /** Date, machine, versions. */
  readonly facts: readonly string[];
  readonly targets: readonly Figure[];
  readonly cells: readonly QueueCell[];
  readonly readings: Readings;
}

/** The figures for people who were not there, in Markdown. */
export function reportText(report: Report): string {
  const { title, rounds, facts, targets, cells, readings } = report;
  const sections = kinds.flatMap(({ heading, keys }) => {
    const of = cells.filter(({ name }) => keys.some((key) => readings.samples(name, key).length > 0));
    const shown = measureNames.filter(({ key }) => keys.includes(key) && of.some(({ name }) => readings.samples(name, key).length > 0));
    if (of.length === 0) return [];
    const head = ["", ...shown.map(({ key, unit }) => `${columnNames[key] ?? key}${unit === "" ? "" : `, ${unit}`}`)];
    return [
      `## ${heading}`,
      markdownTable([head, ...of.map(({ name }) => [name, ...shown.map(({ key }) => spread(readings.samples(name, key)))])]),
    ];
  });
  return `${[
    `# ${title}`,
    "Written by the bench; how it measures and what is not equal stands in [its README](../README.md).",
    facts.map((fact) => `- ${fact}`).join("\n"),
    `Median (lowest..highest) of up to ${rounds} rounds; ratios within a round.`,
    "## Targets",
    markdownTable([["figure", "result", "target", ""], ...targets.map(targetRow)]),
    ...sections,
    ...statementSections(cells, readings),
  ].join("\n\n")}\n`;
}

const kinds: readonly { readonly heading: string; readonly keys: readonly string[] }[] = [
  { heading: "Work", keys: ["perSecond", "cpuUsPerJob"] },
  { heading: "Enqueue", keys: ["single", "concurrent", "batch"] },
  { heading: "Start latency, and claims", keys: ["p50Ms", "p95Ms", "p99Ms", "maxMs", "claimMs", "claimP95Ms"] },
  {
    heading: "What the store does for a job",
    keys: ["statementUs", "processorUs", "walBytes", "pageImageBytes", "indexInsertions", "commits", "hotShare", "diskBytes", "logBytes"],
  },
];

const columnNames: Readonly<Record<string, string>> = {
  perSecond: "speed",
  cpuUsPerJob: "node",
  single: "one at a time",
  concurrent: "16 in flight",
  batch: "1,000 a call",
  p50Ms: "p50",
  p95Ms: "p95",
  p99Ms: "p99",
  maxMs: "worst",
  claimMs: "claim p50",
  claimP95Ms: "claim p95",
  statementUs: "statements",
  processorUs: "server's processor",
  walBytes: "WAL",
  pageImageBytes: "page images",
  indexInsertions: "index insertions",
  commits: "commits",
  hotShare: "HOT",
  diskBytes: "disk",
  logBytes: "log",
};

/** One chart: who is how fast with ten handlers at once. Undefined: nobody was measured so. */
export function reportChart({ title, facts, cells, readings }: Report): string | undefined {
  const barsOf = (subjects: readonly string[]) =>
    cells
      .filter(({ subject, name }) => subjects.includes(subject) && /^(?!sqlite|postgres).* c=10$|^plainjob, drain$/.test(name))
      .flatMap(({ name, subject }) => {
        const value = readings.median(name, "perSecond");
        return value === undefined ? [] : [{ label: name.replace(/, (c=10|drain)$/, ""), value, ours: subject.startsWith("wakeful") }];
      });
  const groups = [
    { title: "One process on SQLite, or on Redis", bars: barsOf(["wakeful-sqlite", "plainjob", "bullmq"]) },
    { title: "One process on PostgreSQL", bars: barsOf(["wakeful-postgres", "graphile-worker", "pg-boss"]) },
  ].filter(({ bars }) => bars.length > 0);
  if (groups.length === 0) return undefined;
  return barChart({
    title: `${title}: jobs a second from claim to settled, ten handlers at once`,
    notes: [...packed(facts), unequal],
    groups,
  });
}

const unequal =
  "Not equal: plainjob and BullMQ do not wait for the disk; plainjob, graphile-worker and BullMQ at its best keep no history of runs.";

/** As many facts on a line as fit below the bars. */
function packed(facts: readonly string[]): readonly string[] {
  return facts.reduce<string[]>((lines, fact) => {
    const last = lines.at(-1);
    if (last === undefined || last.length + fact.length > 120) return [...lines, fact];
    return [...lines.slice(0, -1), `${last}; ${fact}`];
  }, []);
}

function targetRow({ name, value, unit, target, holds, samples, note }: Figure): readonly string[] {
  const verdict = holds === null ? "not measured" : holds ? "holds" : "**does not hold**";
  const said = note === undefined ? verdict : `${verdict}: ${note.split("\n")[0] ?? ""}`;
  return [name, value === null ? "" : `${spread(samples)} ${unit}, n=${samples.length}`, target, said];
}

function statementSections(cells: readonly QueueCell[], readings: Readings): readonly string[] {
  const wanted = cells.filter(({ name }) => /^wakeful-postgres, (500|nothing) ahead, c=10$/.test(name));
  return wanted.flatMap(({ name }) => {
    const statements = readings.last(name, "statements") as readonly StatementTime[] | undefined;
    if (statements === undefined) return [];
    const rows = statements
      .filter(({ usPerJob }) => usPerJob >= 0.05)
      .map(({ text, usPerJob, callsPerJob }) => [usPerJob.toFixed(1), callsPerJob.toPrecision(2), `\`${shortened(text)}\``]);
    return [`## Time in statements: ${name}, last round`, markdownTable([["us a job", "calls a job", "statement"], ...rows])];
  });
}

const shortened = (text: string): string => (text.length > 110 ? `${text.slice(0, 110)}…` : text);

/** `1,234 (1,100..1,300)`: small values keep three digits. */
function spread(samples: readonly number[]): string {
  if (samples.length === 0) return "";
  const sorted = samples.toSorted((a, b) => a - b);
  const [low, mid, high] = [sorted[0] ?? 0, sorted[Math.ceil(sorted.length / 2) - 1] ?? 0, sorted.at(-1) ?? 0];
  const shown = (value: number): string => (Math.abs(value) >= 100 ? grouped(value) : String(Number(value.toPrecision(3))));
  return sorted.length === 1 ? shown(mid) : `${shown(mid)} (${shown(low)}..${shown(high)})`;
}

function markdownTable(rows: readonly (readonly string[])[]): string {
  const line = (row: readonly string[]): string => `| ${row.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  const [head = [], ...body] = rows;
  return [line(head), line(head.map(() => "---")), ...body.map(line)].join("\n");
}
