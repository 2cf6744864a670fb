/** The names of the columns, whatever they are: a copy differs from its model in ids alone. */
export interface Columns {
  readonly jobs: readonly string[];
  readonly runs: readonly string[];
}

/** The ids that the models span. */
export interface Spread {
  readonly jobFrom: number;
  readonly jobs: number;
  readonly runFrom: number;
  readonly runs: number;
}

/** How many copies of a thousand jobs one statement makes. */
const copiesMax = 250;

/**
 * Statements that copy every job and run `copies` times, in the order of their ids, in the SQL that both engines speak. `series` gives the
 * numbers from one to the other as `n`.
 */
export function copyStatements(
  columns: Columns,
  spread: Spread,
  copies: number,
  series: (from: number, to: number) => string,
): readonly string[] {
  const { jobFrom, jobs, runFrom, runs } = spread;
  const shifts = { job: `n * ${jobs}`, run: `n * ${runs}` };
  const statements: string[] = [];
  for (let from = 1; from <= copies; from += copiesMax) {
    const numbers = series(from, Math.min(copies, from + copiesMax - 1));
    statements.push(
      copyStatement("jobs", columns.jobs, { id: shifts.job }, `m.id between ${jobFrom} and ${jobFrom + jobs - 1}`, numbers),
      copyStatement(
        "runs",
        columns.runs,
        { id: shifts.run, job_id: shifts.job },
        `m.id between ${runFrom} and ${runFrom + runs - 1}`,
        numbers,
      ),
    );
  }
  return statements;
}

function copyStatement(
  table: string,
  columns: readonly string[],
  shifted: Readonly<Record<string, string>>,
  models: string,
  numbers: string,
): string {
  const values = columns.map((name) => (shifted[name] === undefined ? `m.${name}` : `m.${name} + ${shifted[name]}`));
  return `insert into ${table} (${columns.join(", ")}) select ${values.join(", ")} from ${numbers} s cross join ${table} m where ${models} order by n, m.id`;
}
