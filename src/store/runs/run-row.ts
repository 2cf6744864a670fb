import type { HostId } from "../../domain/ids.ts";
import type { RunState } from "../../domain/lifecycles/run.ts";
import type { Instant } from "../../domain/time.ts";
import type { RowOf } from "../engine/tables.ts";
import type { RunLimits, RunRow, StoredProcess } from "../port/runs.ts";

interface ProcessColumns {
  readonly host_id: HostId | null;
  readonly boot_id: string | null;
  readonly pid_namespace: string | null;
  readonly pid: number | null;
  readonly start_time: string | null;
}

/** A stored identity, or null where any part of it is missing: half an identity proves nothing about any process. */
export function processOf(row: ProcessColumns): StoredProcess | null {
  const { host_id: hostId, boot_id: bootId, pid_namespace: pidNamespace, pid, start_time: startTime } = row;
  if (hostId === null || bootId === null || pidNamespace === null || pid === null || startTime === null) return null;
  return { hostId, bootId, pidNamespace, pid, startTime };
}

/** The columns of a run that hold an identity, for an update or insert. */
export function processColumns(process: StoredProcess | null): ProcessColumns {
  return {
    host_id: process?.hostId ?? null,
    boot_id: process?.bootId ?? null,
    pid_namespace: process?.pidNamespace ?? null,
    pid: process?.pid ?? null,
    start_time: process?.startTime ?? null,
  };
}

/** A row of `live` or of `runs`: a live one has nothing yet of what an end writes. */
type RunColumns = Omit<RowOf<"live">, "state" | "check_at" | "item_id"> & {
  readonly state: RunState;
  readonly check_at: Instant | null;
} & Partial<Pick<RowOf<"runs">, "ended_at" | "outcome" | "reason" | "message" | "evidence" | "spent" | "by_session_death">>;

export function runRow(row: RunColumns): RunRow {
  return {
    id: row.id,
    jobId: row.job_id,
    attempt: row.attempt,
    state: row.state,
    ownerEpoch: row.owner_epoch,
    workerId: row.worker_id,
    kind: row.kind,
    claimSeq: row.claim_seq,
    reservedAt: row.reserved_at,
    startedAt: row.started_at,
    exitedAt: row.exited_at,
    endedAt: row.ended_at ?? null,
    checkAt: row.check_at,
    process: processOf(row),
    wrapper: processOf({ ...row, pid: row.wrapper_pid, start_time: row.wrapper_start_time }),
    limits: limitsOf(row),
    progressAt: row.progress_at,
    progress: row.progress,
    exitCode: row.exit_code,
    gatePendingAt: row.gate_pending_at,
    slotKey: row.slot_key,
    outcome: row.outcome ?? null,
    reason: row.reason ?? null,
    message: row.message ?? null,
    evidence: row.evidence ?? null,
    spent: row.spent ?? null,
    bySessionDeath: Boolean(row.by_session_death),
    suspendedMs: row.suspended_ms,
  };
}

function limitsOf(row: Pick<RunColumns, "timeout_ms" | "heartbeat_timeout_ms" | "max_running_ms">): RunLimits {
  return {
    timeoutMs: row.timeout_ms ?? undefined,
    heartbeatTimeoutMs: row.heartbeat_timeout_ms ?? undefined,
    maxRunningMs: row.max_running_ms ?? undefined,
  };
}
