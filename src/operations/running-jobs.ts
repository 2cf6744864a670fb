import type { RunId } from "../domain/ids.ts";
import { ageMs, type Instant } from "../domain/time.ts";
import type { RunningJobWire } from "../protocol/api/jobs.ts";
import type { JobRow } from "../store/port/jobs.ts";
import type { LiveRun } from "../store/port/runs.ts";
import type { Store } from "../store/port/store.ts";

const pageSize = 500;

/** Every running job: those with a run, then those without one, which only a defect makes and which must then be seen. */
export async function runningJobs(store: Store): Promise<readonly RunningJobWire[]> {
  const now = store.now();
  const listed: RunningJobWire[] = [];
  const withRun = new Set<number>();
  for (let after: RunId | undefined; ; ) {
    const page = await store.runs.listAllLive({ limit: pageSize, after });
    for (const run of page) {
      withRun.add(run.jobId);
      listed.push(ofRun(run, now));
    }
    after = page.at(-1)?.id;
    if (page.length < pageSize) break;
  }
  for (let before: JobRow["id"] | undefined; ; ) {
    const page = await store.upkeep.listJobs({ states: ["running"], limit: pageSize, before });
    listed.push(...page.filter(({ id }) => !withRun.has(id)).map(withoutRun));
    before = page.at(-1)?.id;
    if (page.length < pageSize) break;
  }
  return listed;
}

/** Ages in seconds: 0 where the start is unknown, null before an exit. */
function ofRun(run: LiveRun, now: Instant): RunningJobWire {
  return {
    id: run.jobId,
    agent: run.agent,
    repo: run.repo,
    task_id: run.itemId,
    attempts: run.attempts,
    max_attempts: run.maxAttempts,
    pid: run.process?.pid ?? null,
    run_id: run.id,
    running_age_s: run.startedAt === null ? 0 : ageMs(run.startedAt, now) / 1000,
    exit_code: run.exitCode,
    finished_age_s: run.exitedAt === null ? null : ageMs(run.exitedAt, now) / 1000,
  };
}

function withoutRun(job: JobRow): RunningJobWire {
  const { id, agent, repo, itemId, attempts, maxAttempts } = job;
  return {
    id,
    agent,
    repo,
    task_id: itemId,
    attempts,
    max_attempts: maxAttempts,
    pid: null,
    run_id: job.currentRunId,
    running_age_s: 0,
    exit_code: null,
    finished_age_s: null,
  };
}
