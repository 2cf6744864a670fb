import { type Kysely, type RawBuilder, sql } from "kysely";
import type { Instant } from "../../domain/time.ts";
import type { Engine } from "../engine/engine.ts";
import type { Database, RowOf } from "../engine/tables.ts";
import { appendActions } from "../records/action-log.ts";

type InstantColumn<Table extends keyof Database> = {
  [Column in keyof RowOf<Table>]: Exclude<RowOf<Table>[Column], null> extends Instant ? Column : never;
}[keyof RowOf<Table>];

/** The latest instant that a column may rightly hold at `now`, over its own row as it was before. */
type Bound = (now: RawBuilder<number>) => RawBuilder<number>;

/** What has happened: not later than now. */
const past: Bound = (now) => now;
/** The next look, moved to now only where some other instant was wrong: by itself it proves nothing, for it may rightly lie ahead. */
const lookAgain: Bound = (now) => now;
/** What was planned when the clock was ahead stays as long after now as it was after the planning; an earlier plan is kept. */
const planned = (column: string, plannedAt: RawBuilder<number>): Bound => {
  const plan = sql<number>`${sql.ref(column)}`;
  return (now) =>
    sql`(select case when origin.at > ${now} then ${now} + ${plan} - origin.at else ${plan} end from (${plannedAt}) as origin)`;
};

type InstantColumns = {
  readonly [Table in keyof Database as [InstantColumn<Table>] extends [never] ? never : Table]: Readonly<
    Record<InstantColumn<Table>, Bound>
  >;
};

/** When a job was last put off: at its making or at the end of a run. */
const putOff = sql<number>`select max(origins.at) as at from (
  select jobs.created_at as at union all select runs.ended_at from runs where runs.job_id = jobs.id
) as origins`;

/**
 * Every column that holds an instant, as the type and a test of the schema require. Tables stand in lock order, and jobs before runs: the
 * end of a run tells when its job was planned.
 */
export const instantColumns: InstantColumns = {
  live: {
    reserved_at: past,
    started_at: past,
    exited_at: past,
    check_at: lookAgain,
    progress_at: past,
    gate_pending_at: past,
  },
  jobs: {
    run_at: planned("jobs.run_at", putOff),
    scheduled_at: planned("jobs.scheduled_at", putOff),
    created_at: past,
    finished_at: past,
    last_loss_at: past,
    // The fence of a run that nobody can probe counts from here, so it is never shortened.
    stop_by: planned("jobs.stop_by", sql`select max(runs.ended_at) as at from runs where runs.id = jobs.blocked_by`),
  },
  runs: {
    reserved_at: past,
    started_at: past,
    exited_at: past,
    ended_at: past,
    check_at: lookAgain,
    progress_at: past,
    gate_pending_at: past,
  },
  visits: { last_loss_at: past, opened_at: past, closed_at: past },
  items: { created_at: past, updated_at: past, finished_at: past },
  leases: {
    granted_at: past,
    // A renewal sets it no further ahead than this.
    expires_at: (now) => sql`${now} + leases.ttl_ms`,
    alerted_at: past,
  },
  lease_waiters: { asked_at: past, timeout_at: planned("lease_waiters.timeout_at", sql`select lease_waiters.asked_at as at`) },
  workers: { registered_at: past, last_heard_at: past, ended_at: past },
  pipeline_versions: { put_at: past },
  action_logs: { at: past },
  outbox: { due_at: lookAgain, created_at: past, claimed_until: past },
  duplicates: { detected_at: past, decided_at: past, done_at: past },
  daemons: { started_at: past, heard_at: past, ended_at: past },
  hosts: { seen_at: past },
  migrations: { applied_at: past },
};

/** How many rows of each table were changed; tables without any are left out. */
type ClockReset = Readonly<Record<string, number>>;

/** Brings every stored instant that lies ahead of `to` back to it, in one transaction. Orders among equal instants are then those of the ids. */
export async function resetClock(engine: Engine, { to, actor }: { readonly to: Instant; readonly actor: string }): Promise<ClockReset> {
  return await engine.transaction(async (tx) => {
    const rows: Record<string, number> = {};
    for (const table of tables) {
      const changed = await bringBack(tx, { table, to, bounds: (bound) => bound !== lookAgain });
      if (changed > 0) rows[table] = changed;
    }
    const total = Object.values(rows).reduce((sum, changed) => sum + changed, 0);
    if (total === 0) return rows;
    for (const table of tables) await bringBack(tx, { table, to, bounds: (bound) => bound === lookAgain });
    await appendActions(tx, to, [{ action: "clock.reset", actor, message: `${total} rows were ahead of the clock` }]);
    return rows;
  });
}

const tables = Object.keys(instantColumns) as readonly (keyof InstantColumns)[];

async function bringBack(
  tx: Kysely<Database>,
  { table, to, bounds }: { readonly table: keyof InstantColumns; readonly to: Instant; readonly bounds: (bound: Bound) => boolean },
): Promise<number> {
  // A literal: a parameter's type would have to be guessed by the server in each place.
  const now = sql<number>`${sql.lit(to)}`;
  const columns: readonly (readonly [string, Bound])[] = Object.entries(instantColumns[table]);
  const rules = columns
    .filter(([, bound]) => bounds(bound))
    .map(([name, bound]) => {
      const column = sql.ref(`${table}.${name}`);
      const ahead = sql`(${column} > ${now} and ${column} > ${bound(now)})`;
      return { ahead, set: sql`${sql.ref(name)} = case when ${ahead} then ${bound(now)} else ${column} end` };
    });
  if (rules.length === 0) return 0;
  const anyAhead = sql.join(
    rules.map(({ ahead }) => ahead),
    sql` or `,
  );
  const result = await sql`update ${sql.table(table)} set ${sql.join(rules.map(({ set }) => set))} where ${anyAhead}`.execute(tx);
  return Number(result.numAffectedRows ?? 0n);
}
