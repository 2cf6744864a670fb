import type { ProcessTable } from "./process-table.ts";

/** The table with one listing for all who ask: many runs are looked over at the cost of one walk through the processes. Short-lived. */
export function tableSnapshotOf(table: ProcessTable): ProcessTable {
  let rows: ReturnType<ProcessTable["list"]> | undefined;
  const values = new Map<string, string | undefined>();
  return {
    ...table,
    list: () => {
      rows ??= table.list();
      return rows;
    },
    environmentValue: (pid, name) => {
      const key = `${pid} ${name}`;
      if (!values.has(key)) values.set(key, table.environmentValue(pid, name));
      return values.get(key);
    },
  };
}
