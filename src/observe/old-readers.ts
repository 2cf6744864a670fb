import { spanText } from "../domain/durations.ts";
import type { DurationMs } from "../domain/time.ts";
import { longLogBytes } from "../liveness/old-readers.ts";
import type { OpenFiles } from "../processes/probe/open-files.ts";
import type { FileLog, OldTransaction } from "../store/port/old-readers.ts";
import type { UpkeepStore } from "../store/port/upkeep.ts";

/** Somebody who reads an old state of the store, for people. */
export interface OldReader {
  readonly kind: "process" | OldTransaction["kind"];
  /** The same as long as it reads. */
  readonly id: string;
  /** Names it: "pid 4711 (sqlite3 wakeful.db)". */
  readonly who: string;
  /** Null: unknown. */
  readonly ageMs: DurationMs | null;
  /** How many transactions of a server began since; null of a file's reader. */
  readonly transactions: number | null;
  readonly catalogOnly: boolean;
  /** The command that ends it, and who may give it. */
  readonly remedy: string;
}

export interface OldReaders {
  /** Size of a file's write-ahead log; null: the store is a server's, or in memory. */
  readonly logBytes: number | null;
  /** Whether a reader keeps the log from being written back. */
  readonly logHeld: boolean;
  /** Those of a file only while its log is long: a short reader is nobody's concern. */
  readonly readers: readonly OldReader[];
}

export interface ReaderSources {
  readonly upkeep: Pick<UpkeepStore, "keptForReaders">;
  readonly files: Pick<OpenFiles, "lockersOf" | "commandLineOf">;
  readonly ownPid: number;
}

/** Who reads an old state of the store: asked of the server, or of the kernel for the locks of a file's readers. */
export async function observeOldReaders({ upkeep, files, ownPid }: ReaderSources): Promise<OldReaders> {
  const { log, transactions } = await upkeep.keptForReaders();
  return {
    logBytes: log?.bytes ?? null,
    logHeld: log?.held ?? false,
    readers: log === null ? transactions.map(transactionReader) : log.bytes > longLogBytes ? fileReaders(log, { files, ownPid }) : [],
  };
}

function fileReaders({ readLocks, held }: FileLog, { files, ownPid }: Pick<ReaderSources, "files" | "ownPid">): readonly OldReader[] {
  const all = files.lockersOf(readLocks.path, readLocks) ?? [];
  const pids = all.filter((pid) => pid !== ownPid);
  const plain = { kind: "process", ageMs: null, transactions: null, catalogOnly: false } as const;
  if (pids.length === 0 && held) {
    const [who, remedy] = all.includes(ownPid)
      ? [`this process (pid ${ownPid}), on a connection of its own`, "End that connection's transaction, or restart this process."]
      : ["a process that cannot be seen from here", `\`lsof ${readLocks.path}\` names it, as root and outside of containers.`];
    return [{ ...plain, id: "process", who, remedy }];
  }
  return pids.map((pid) => {
    const command = files.commandLineOf(pid);
    return {
      ...plain,
      id: `process ${pid}`,
      who: `pid ${pid}${command === undefined ? "" : ` (${command})`}`,
      remedy: `End what it reads, or \`kill ${pid}\`.`,
    };
  });
}

function transactionReader(open: OldTransaction): OldReader {
  const { kind, pid, name, ageMs, transactions, catalogOnly } = open;
  return { kind, id: `${kind} ${pid ?? name}`, who: whoIs(open), ageMs, transactions, catalogOnly, remedy: remedyFor(open) };
}

function whoIs({ kind, pid, name, user, state, ageMs }: OldTransaction): string {
  if (kind === "prepared_transaction") return `the prepared transaction ${name} of ${user ?? "an unknown user"}`;
  if (kind === "replication_slot") return `the replication slot ${name} (${state ?? "unknown"})`;
  const facts = [name === "" ? undefined : name, user === null ? undefined : `user ${user}`, state ?? undefined].filter(
    (fact) => fact !== undefined,
  );
  const hidden = state === null && ageMs === null ? ["a transaction that this role may not see"] : [];
  return `session ${pid} (${[...facts, ...hidden].join(", ")})`;
}

const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;

function remedyFor({ kind, pid, name, user, database, bySuperuser }: OldTransaction): string {
  if (kind === "prepared_transaction")
    return `\`rollback prepared ${quoted(name)}\`, or \`commit prepared\`, in the database ${database ?? ""} as ${user ?? "its owner"} or a superuser.`;
  if (kind === "replication_slot")
    return `Start what it serves again, or \`select pg_drop_replication_slot(${quoted(name)})\`, with the right REPLICATION.`;
  const who = bySuperuser ? "as a superuser" : `as ${user ?? "its user"}, a member of pg_signal_backend or a superuser`;
  return `\`select pg_terminate_backend(${pid})\`, ${who}.`;
}

/** How long it has been open and what it costs, as far as that is known. */
export function costText({ ageMs, transactions }: Pick<OldReader, "ageMs" | "transactions">): string {
  const open = ageMs === null ? [] : [`open for ${spanText(ageMs)}`];
  return [...open, ...(transactions === null ? [] : [`${transactions} transactions behind`])].join(", ");
}

/** A size for people. */
export const mebibytesText = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`;
