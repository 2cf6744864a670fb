import { type CompiledQuery, type RawBuilder, sql } from "kysely";
import {
  epochOfId,
  firstIdOfEpoch,
  type HostId,
  type ItemId,
  type JobId,
  type RunId,
  type VisitId,
  type WorkerId,
} from "../../domain/ids.ts";
import type { Instant } from "../../domain/time.ts";
import type { Engine } from "../engine/engine.ts";
import { repeated } from "../engine/repeated.ts";
import type { RowOf } from "../engine/tables.ts";
import type { BlockedJob, LiveRun, RunScope, RunsStore } from "../port/runs.ts";
import { supervisorRow } from "../workers/worker-row.ts";
import { findRun, runsOfJob } from "./all-runs.ts";
import { plainRun } from "./held-run-row.ts";
import { processOf, runRow } from "./run-row.ts";

/** What the loops and `wakeful ls` read of runs. */
export type RunReads = Pick<
  RunsStore,
  "listDue" | "listOfWorkers" | "listLocalProcesses" | "listLive" | "listAllLive" | "get" | "isFollowed" | "ofJob" | "listBlocked"
>;

/** Supervisor columns beside a run's own, under names of their own. */
interface SupervisorColumns {
  readonly w_id: RowOf<"workers">["id"] | null;
  readonly w_state: RowOf<"workers">["state"];
  readonly w_host_id: HostId;
  readonly w_boot_id: string;
  readonly w_pid_namespace: string;
  readonly w_pid: number;
  readonly w_start_time: string;
  readonly w_last_heard_at: Instant;
  readonly w_claim_seq_received: number;
  readonly w_via: HostId | null;
}

type LiveRow = RowOf<"live"> &
  SupervisorColumns & {
    readonly queue: string;
    readonly job_attempts: number;
    readonly max_attempts: number;
    readonly visit_id: VisitId | null;
    readonly agent: string | null;
    readonly repo: string | null;
    readonly item_stage: string | null;
    readonly item_visit_id: VisitId | null;
    readonly pipeline: string | null;
    readonly pipeline_version: string | null;
  };

const supervisorColumns = sql`
  w.id as w_id, w.state as w_state, w.host_id as w_host_id, w.boot_id as w_boot_id, w.pid_namespace as w_pid_namespace, w.pid as w_pid,
  w.start_time as w_start_time, w.last_heard_at as w_last_heard_at, w.claim_seq_received as w_claim_seq_received, w.via as w_via`;

/** `picked` is a subquery on `live` with a limit, which no join walks the table for; everything else is reached from its rows by key. */
const liveRuns = (picked: RawBuilder<unknown>): RawBuilder<LiveRow> => sql<LiveRow>`
  select r.*, q.name as queue, j.attempts + case when r.state = 'reserved' then 0 else 1 end as job_attempts, j.max_attempts, j.visit_id, j.agent, j.repo,
    i.stage as item_stage, i.visit_id as item_visit_id, i.pipeline, i.pipeline_version, ${supervisorColumns}
  from (${picked}) r join jobs j on j.id = r.job_id join queues q on q.id = j.queue_id
  left join items i on i.id = r.item_id left join workers w on w.id = r.worker_id`;

/** The condition of a scope, inside the bounded subquery: filtered behind its limit, others' runs would hide one's own. */
function within({ only, heard }: RunScope): RawBuilder<unknown> {
  const plain = only === undefined ? sql`` : sql.raw(plainRun);
  if (heard === undefined) return plain;
  const ours = heard.length === 0 ? sql`` : sql`or worker_id in (${sql.join(heard)})`;
  return sql`${plain} and (state <> 'reserved' or worker_id is null ${ours}
    or not exists (select 1 from workers s where s.id = live.worker_id and s.state in ('live', 'draining')))`;
}

type DueOfScope = RunScope & { readonly now: Instant; readonly limit: number };

/** What is due, asked each second: one compiled statement for each kind of scope and number of sessions, of which a process has few. */
class CompiledDue {
  readonly #engine: Pick<Engine, "rows">;
  readonly #compile: (values: DueOfScope) => CompiledQuery<LiveRow>;
  readonly #made = new Map<string, (values: Readonly<Record<string, unknown>>) => Promise<readonly LiveRow[]>>();

  constructor(engine: Pick<Engine, "rows">, compile: (values: DueOfScope) => CompiledQuery<LiveRow>) {
    this.#engine = engine;
    this.#compile = compile;
  }

  async rows({ now, limit, only, heard }: DueOfScope): Promise<readonly LiveRow[]> {
    const key = `${only ?? "all"} ${heard?.length ?? "-"}`;
    let asked = this.#made.get(key);
    if (asked === undefined) {
      asked = repeated<Readonly<Record<string, unknown>>, LiveRow>(this.#engine, (blanks) =>
        this.#compile({
          now: blanks["now"] as Instant,
          limit: blanks["limit"] as number,
          only,
          heard: heard?.map((_, at) => blanks[`session${at}`] as WorkerId),
        }),
      );
      this.#made.set(key, asked);
    }
    return await asked({ now, limit, ...Object.fromEntries((heard ?? []).map((id, at) => [`session${at}`, id])) });
  }
}

export function createRunReads(engine: Pick<Engine, "kysely" | "rows">): RunReads {
  const { kysely } = engine;
  const dueRuns = ({ now, limit, ...scope }: DueOfScope): RawBuilder<LiveRow> => {
    const picked = sql`select * from live where check_at <= ${now} ${within(scope)} order by check_at limit ${limit}`;
    return sql<LiveRow>`${liveRuns(picked)} order by r.check_at, r.id`;
  };
  const due = new CompiledDue(engine, (values) => dueRuns(values).compile(kysely));
  const localProcesses = repeated(engine, ({ hostId }: { readonly hostId: HostId }) =>
    sql<RowOf<"live">>`
      select id, host_id, boot_id, pid_namespace, pid, start_time from live where host_id = ${hostId} and pid is not null and state = 'started'`.compile(
      kysely,
    ),
  );
  const blocked = repeated(engine, ({ after, limit }: BlockedPage) => blockedRows({ after, limit }).compile(kysely));
  const plainBlocked = repeated(engine, ({ after, limit }: BlockedPage) => blockedRows({ after, limit, only: "plain" }).compile(kysely));
  const live = async (picked: RawBuilder<unknown>, order: RawBuilder<unknown>): Promise<LiveRun[]> => {
    const { rows } = await sql<LiveRow>`${liveRuns(picked)} order by ${order}`.execute(kysely);
    return rows.map(liveRun);
  };
  return {
    listDue: async (options) => (await due.rows(options)).map(liveRun),
    listOfWorkers: async ({ workerIds, after, limit }) => {
      const runs: LiveRun[] = [];
      // One range of the index for each session: one statement for all would sort them first. `id + 0` keeps the planner from walking the
      // key, past the runs of all other sessions.
      for (const workerId of [...workerIds].sort((a, b) => a - b)) {
        if (runs.length >= limit) break;
        if (after !== undefined && workerId < after.workerId) continue;
        const afterRun = after !== undefined && workerId === after.workerId ? after.runId : -1;
        const picked = sql`select * from live where worker_id = ${workerId} and id + 0 > ${afterRun} order by id + 0 limit ${limit - runs.length}`;
        runs.push(...(await live(picked, sql`r.id`)));
      }
      return runs;
    },
    listLocalProcesses: async (hostId) => {
      return (await localProcesses({ hostId })).flatMap((row) => {
        const process = processOf(row);
        return process === null ? [] : [{ runId: row.id, process }];
      });
    },
    listLive: async (ids, scope = {}) => {
      if (ids.length === 0) return [];
      return await live(sql`select * from live where id in (${sql.join(ids)}) ${within(scope)} limit ${ids.length}`, sql`r.id`);
    },
    listAllLive: async ({ after, limit, hostId, ...scope }) => {
      const onHost =
        hostId === undefined
          ? sql``
          : sql`and (live.host_id = ${hostId} or (live.host_id is null and live.worker_id in (select id from workers where host_id = ${hostId})))`;
      const picked = sql`select * from live where id > ${after ?? -1} ${onHost} ${within(scope)} order by id limit ${limit}`;
      return await live(picked, sql`r.id`);
    },
    get: async (id) => {
      const row = await findRun(kysely, id).selectAll().executeTakeFirst();
      return row === undefined ? undefined : runRow(row);
    },
    isFollowed: async (id) => {
      const nextEpoch = firstIdOfEpoch(epochOfId(id) + 1) as RunId;
      // A run may end and leave `live` while this looks: it is in `runs` from then on.
      for (const table of ["live", "runs"] as const) {
        const next = kysely.selectFrom(table).select("id").where("id", ">", id).where("id", "<", nextEpoch);
        if ((await next.orderBy("id").limit(1).executeTakeFirst()) !== undefined) return true;
      }
      return false;
    },
    ofJob: async (jobId) => {
      const rows = await runsOfJob(kysely, jobId).selectAll().execute();
      return rows.map(runRow);
    },
    listBlocked: async ({ only, limit, after }) => {
      const page = { limit, after: after ?? -1 };
      return (only === undefined ? await blocked(page) : await plainBlocked(page)).map(blockedJob);
    },
  };
}

type BlockedRow = RowOf<"runs"> &
  SupervisorColumns & {
    readonly blocked_job_id: JobId;
    readonly queue: string;
    readonly stop_by: Instant;
    readonly item_id: ItemId | null;
    readonly visit_id: VisitId | null;
  };

interface BlockedPage {
  readonly after: number;
  readonly limit: number;
}

const isOfHandler = sql`and item_id is null and exists (select 1 from runs b where b.id = jobs.blocked_by and b.kind = 'handler')`;

/** Few jobs are blocked at any time: all of them are in the partial index, and a page of them is sorted by key. */
const blockedRows = ({ after, limit, only }: BlockedPage & Pick<RunScope, "only">): RawBuilder<BlockedRow> => sql<BlockedRow>`
  select r.*, b.id as blocked_job_id, q.name as queue, b.stop_by, b.item_id, b.visit_id, ${supervisorColumns}
  from (select id, queue_id, blocked_by, stop_by, item_id, visit_id from jobs
    where blocked_by is not null and id + 0 > ${after} ${only === undefined ? sql`` : isOfHandler} order by id + 0 limit ${limit}) b
  join runs r on r.id = b.blocked_by join queues q on q.id = b.queue_id left join workers w on w.id = r.worker_id order by b.id`;

function blockedJob(row: BlockedRow): BlockedJob {
  return {
    jobId: row.blocked_job_id,
    queue: row.queue,
    stopBy: row.stop_by,
    run: runRow(row),
    supervisor: supervisorOf(row),
    itemId: row.item_id,
    visitId: row.visit_id,
  };
}

function liveRun(row: LiveRow): LiveRun {
  return {
    ...runRow(row),
    queue: row.queue,
    attempts: row.job_attempts,
    maxAttempts: row.max_attempts,
    itemId: row.item_id,
    visitId: row.visit_id,
    itemStage: row.item_stage,
    itemVisitId: row.item_visit_id,
    pipeline: row.pipeline,
    pipelineVersion: row.pipeline_version,
    agent: row.agent,
    repo: row.repo,
    supervisor: supervisorOf(row),
  };
}

function supervisorOf(row: SupervisorColumns): LiveRun["supervisor"] {
  if (row.w_id === null) return null;
  return supervisorRow({
    id: row.w_id,
    state: row.w_state,
    host_id: row.w_host_id,
    boot_id: row.w_boot_id,
    pid_namespace: row.w_pid_namespace,
    pid: row.w_pid,
    start_time: row.w_start_time,
    last_heard_at: row.w_last_heard_at,
    claim_seq_received: row.w_claim_seq_received,
    via: row.w_via,
  });
}
