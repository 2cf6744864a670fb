import { existsSync } from "node:fs";
import { DatabaseSync } from "@photostructure/sqlite";
import pg from "pg";

interface Count {
  readonly jobs: number;
  readonly done: number;
  readonly runs: number;
  readonly jobsWithRuns: number;
}

const countStatement = `select (select count(*) from jobs) as "jobs", (select count(*) from jobs where state = 'done') as "done",
  count(*) as "runs", count(distinct job_id) as "jobsWithRuns" from runs where outcome = 'succeeded'`;

/**
 * Reads the tables of a stopped store.
 *
 * @throws unless every job is done, each by one run, and there are `jobs` of them.
 */
export async function checkEveryJobOnce(store: string, jobs: number): Promise<void> {
  const count = existsSync(store) ? countInFile(store) : await countOnServer(store);
  if (count.jobs === jobs && count.done === jobs && count.runs === jobs && count.jobsWithRuns === jobs) return;
  throw new Error(`not every one of ${jobs} jobs was done by one run: ${JSON.stringify(count)}`);
}

function countInFile(store: string): Count {
  const db = new DatabaseSync(store, { readOnly: true });
  try {
    return db.prepare(countStatement).get() as Count;
  } finally {
    db.close();
  }
}

async function countOnServer(store: string): Promise<Count> {
  const client = new pg.Client({ connectionString: store, options: "-c search_path=wakeful" });
  await client.connect();
  try {
    const { rows } = await client.query<Record<keyof Count, string>>(countStatement);
    const [row] = rows;
    return { jobs: Number(row?.jobs), done: Number(row?.done), runs: Number(row?.runs), jobsWithRuns: Number(row?.jobsWithRuns) };
  } finally {
    await client.end();
  }
}
