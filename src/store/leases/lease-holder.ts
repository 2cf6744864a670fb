import type { HostId, RunId } from "../../domain/ids.ts";
import type { LeaseHolder } from "../port/leases.ts";
import { processColumns, processOf } from "../runs/run-row.ts";

export interface HolderColumns {
  readonly holder_run_id: RunId | null;
  readonly holder_host_id: HostId | null;
  readonly holder_boot_id: string | null;
  readonly holder_pid_namespace: string | null;
  readonly holder_pid: number | null;
  readonly holder_start_time: string | null;
}

export const noHolder: HolderColumns = holderColumns(null);

/** A holder as the columns of a lease or of a waiter. */
export function holderColumns(holder: LeaseHolder | null): HolderColumns {
  const process = processColumns(holder?.kind === "process" ? holder.process : null);
  return {
    holder_run_id: holder?.kind === "run" ? holder.runId : null,
    holder_host_id: process.host_id,
    holder_boot_id: process.boot_id,
    holder_pid_namespace: process.pid_namespace,
    holder_pid: process.pid,
    holder_start_time: process.start_time,
  };
}

export function holderOf(row: HolderColumns): LeaseHolder | null {
  if (row.holder_run_id !== null) return { kind: "run", runId: row.holder_run_id };
  const process = processOf({
    host_id: row.holder_host_id,
    boot_id: row.holder_boot_id,
    pid_namespace: row.holder_pid_namespace,
    pid: row.holder_pid,
    start_time: row.holder_start_time,
  });
  return process === null ? null : { kind: "process", process };
}
