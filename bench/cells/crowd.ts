import { spawnSync } from "node:child_process";

/** A store full of running jobs, written straight into its tables: taking a million jobs one by one is not what is measured. */
export interface Crowd {
  readonly jobs: number;
  readonly sessions: number;
  /** So many of the sessions are of processes of this host that have ended; the others are on foreign hosts and were heard just now. */
  readonly dead: number;
}

export interface CrowdFacts {
  readonly hostId: string;
  readonly bootId: string;
  readonly pidNamespace: string;
  readonly now: number;
  readonly queueId: number;
}

/** Statements in the SQL that both engines speak; `series(n)` gives the numbers 0 to n - 1 as `i`. */
export function crowdStatements({ jobs, sessions, dead }: Crowd, facts: CrowdFacts, series: (count: number) => string): readonly string[] {
  const { hostId, bootId, pidNamespace, now, queueId } = facts;
  const pid = spawnSync("true").pid;
  return [
    `insert into workers (id, name, kind, state, host_id, boot_id, pid_namespace, pid, start_time, concurrency, queues, registered_at, last_heard_at)
     select i + 1, 'w', 'handler', 'live', case when i < ${dead} then '${hostId}' else 'host-' || (i % 100) end,
       case when i < ${dead} then '${bootId}' else 'boot-' || (i % 100) end, '${pidNamespace}', ${pid}, '1', 1000, '["bench"]', ${now}, ${now}
     from (${series(sessions)}) s`,
    `insert into jobs (id, queue_id, state, run_at, created_at, attempts, run_count, current_run_id, current_epoch, payload)
     select i + 1, ${queueId}, 'running', ${now}, ${now}, 1, 1, i + 1, 1, '{"i":1}' from (${series(jobs)}) s`,
    // As claims would have made them: a hundred at a time to one session, the sessions in turns.
    `insert into runs (id, job_id, attempt, state, worker_id, kind, claim_seq, reserved_at, started_at, check_at, max_running_ms)
     select i + 1, i + 1, 1, 'started', 1 + ((i / 100) * 7919) % ${sessions}, 'handler', 1 + i / ${sessions}, ${now}, ${now}, ${now} + 86400000, 86400000
     from (${series(jobs)}) s`,
  ];
}
