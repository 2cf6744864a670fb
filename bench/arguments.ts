import { parseArgs } from "node:util";
import { BenchError } from "./bench-error.ts";
import { type FaultRequest, readFaultRequest } from "./faults/fault-request.ts";

export const benchNames = ["embedded", "latency", "recovery", "reaper", "idle", "queue", "queue-growth"] as const;
export type BenchName = (typeof benchNames)[number];

/** Of the queue, `embedded` and `latency` compare revisions. */
const notCompared: readonly BenchName[] = ["queue", "queue-growth"];

export interface BenchRequest {
  readonly names: readonly BenchName[];
  /** The revision to compare with; without it the promises are measured. */
  readonly against: string | undefined;
  /** Undefined: as many as each figure has. */
  readonly rounds: number | undefined;
  /** Which cells of `queue` and `queue-growth` to run. */
  readonly only: RegExp | undefined;
  /** How many finished jobs a grown store has. */
  readonly finished: number | undefined;
  /** A folder for the table and the chart of `queue` and `queue-growth`. */
  readonly report: string | undefined;
  readonly quick: boolean;
  readonly json: boolean;
}

const roundsMax = 1000;
const finishedMax = 1_000_000;
export const comparisonRounds = 11;

export const helpText = `npm run bench -- [NAME...] [--rounds N] [--only PATTERN] [--finished N] [--report FOLDER] [--json] [--quick]
    Measures what we promise, beside the peers. Without a name: ${benchNames.join(", ")}.
npm run bench -- --against REV [NAME...] [--rounds N] [--json]
    Builds REV and the working tree, measures them in turns, and compares within each round.
npm run bench -- faults [--seed N] [--points P] [--from K] [--limits short] [--times T] [--store STORE] [--only PATTERN] [--all] [--json]
    Makes faults under load, drawn by the seed, and checks after each that no work was lost, doubled or spoiled: see bench/README.md.

  --against REV   a commit, branch or tag
  --rounds N      how many rounds, 1 to ${roundsMax}; default ${comparisonRounds} with --against (about 30 minutes for everything)
  --only PATTERN  of queue and queue-growth: only the cells whose names match this regular expression, such as 'postgres.*c=10$'
  --finished N    of queue-growth: how many finished jobs the grown store has, in thousands; default 10000
  --report FOLDER of queue and queue-growth: writes the tables as Markdown and the chart as SVG
  --json          the answer for programs, on standard output; progress goes to standard error
  --quick         fewer rounds and smaller stores: shows that everything runs, not what it is worth
  --help          this text

Exit code: 0 everything holds, 1 a figure does not, 2 the request cannot be served, 130 interrupted.
`;

/** @throws {BenchError} `bad_option`, `unknown_bench` */
export function readArguments(args: readonly string[]): BenchRequest | { readonly faults: FaultRequest } | "help" {
  const [first, ...others] = args;
  if (first === "faults" && !others.some((each) => each === "--help" || each === "-h")) return { faults: readFaultRequest(others) };
  const { values, positionals } = parse(first === "faults" ? ["--help"] : args);
  if (values.help) return "help";
  const { against } = values;
  if (against === "" || against?.startsWith("-") === true) throw new BenchError("bad_option", "--against needs a revision.");
  if (against !== undefined && values.quick) throw new BenchError("bad_option", "--quick has no meaning with --against: use --rounds.");
  if (against !== undefined && values.only !== undefined) throw new BenchError("bad_option", "--only has no meaning with --against.");
  if (values.report === "" || values.report?.startsWith("-") === true) throw new BenchError("bad_option", "--report needs a folder.");
  const unknown = positionals.filter((name) => !isBenchName(name));
  if (unknown.length > 0)
    throw new BenchError("unknown_bench", `There is no bench ${unknown.join(", ")}; there are ${benchNames.join(", ")}.`);
  const names = benchNames.filter((name) =>
    positionals.length === 0 ? against === undefined || !notCompared.includes(name) : positionals.includes(name),
  );
  const alone = names.filter((name) => against !== undefined && notCompared.includes(name));
  if (alone.length > 0) throw new BenchError("bad_option", `${alone.join(", ")} cannot be compared with another revision.`);
  return {
    names,
    against,
    rounds: values.rounds === undefined ? undefined : readWhole("--rounds", values.rounds, roundsMax),
    only: values.only === undefined ? undefined : readPattern(values.only),
    finished: values.finished === undefined ? undefined : 1000 * readWhole("--finished", values.finished, finishedMax),
    report: values.report,
    quick: values.quick,
    json: values.json,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        against: { type: "string" },
        rounds: { type: "string" },
        only: { type: "string" },
        finished: { type: "string" },
        report: { type: "string" },
        json: { type: "boolean", default: false },
        quick: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (thrown) {
    throw new BenchError("bad_option", thrown instanceof Error ? thrown.message : String(thrown));
  }
}

function readWhole(option: string, text: string, max: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > max)
    throw new BenchError("bad_option", `${option} is a whole number from 1 to ${max}, not "${text}".`);
  return value;
}

function readPattern(text: string): RegExp {
  try {
    return new RegExp(text, "i");
  } catch {
    throw new BenchError("bad_option", `--only is a regular expression, not "${text}".`);
  }
}

const isBenchName = (name: string): name is BenchName => (benchNames as readonly string[]).includes(name);
