import type { MigrationStep } from "../engine/migration.ts";

/**
 * Drops the checks of kinds, allows `returned` jobs, and adds the columns of delivery without an index, so that the hot path pays nothing
 * (decision 0016). Stores in use had it in one step, to the same end.
 */
const openKinds = `
-- Jobs before items, in the order in which every writer locks them.
alter table jobs
  drop constraint jobs_state_check,
  add constraint jobs_state_check check (state in ('scheduled', 'queued', 'running', 'done', 'returned', 'failed', 'held', 'cancelled'))
    not valid,
  drop constraint jobs_check3,
  add constraint jobs_finished_check check ((finished_at is null) = (state not in ('done', 'failed', 'cancelled', 'returned')))
    not valid,
  -- The slot and the lease of a job whose stage names them by template; null for all others.
  add column slot_key text,
  add column lease text;
alter table items add column priority integer not null default 0;
alter table workers drop constraint workers_kind_check;
alter table outbox drop constraint outbox_kind_check;
alter table queues drop constraint queues_kind_check;
`;

/** Apart, so that nobody waits while all jobs are looked at. */
export const openKindsSteps: readonly MigrationStep[] = [
  { name: "opening the kinds", text: openKinds },
  { name: "checking all jobs", text: "alter table jobs validate constraint jobs_state_check, validate constraint jobs_finished_check;" },
];
