import { askStore } from "./ask-store.ts";

interface Count {
  readonly jobs: number;
  readonly done: number;
  readonly runs: number;
  readonly jobsWithRuns: number;
}

const countStatement = (afterJob: number): string => `select (select count(*) from jobs where id > ${afterJob}) as "jobs",
  (select count(*) from jobs where id > ${afterJob} and state = 'done') as "done", count(*) as "runs", count(distinct job_id) as "jobsWithRuns"
  from runs where outcome = 'succeeded' and job_id > ${afterJob}`;

/**
 * Reads the tables of a stopped store.
 *
 * @throws unless every job beyond `afterJob` is done, each by one run, and there are `jobs` of them.
 */
export async function checkEveryJobOnce(store: string, jobs: number, afterJob: number): Promise<void> {
  const count = numbersOf(await askStore(store, countStatement(afterJob)));
  if (count.jobs === jobs && count.done === jobs && count.runs === jobs && count.jobsWithRuns === jobs) return;
  throw new Error(`not every one of ${jobs} jobs was done by one run: ${JSON.stringify(count)}`);
}

function numbersOf(row: Readonly<Record<string, unknown>>): Count {
  return { jobs: Number(row["jobs"]), done: Number(row["done"]), runs: Number(row["runs"]), jobsWithRuns: Number(row["jobsWithRuns"]) };
}
