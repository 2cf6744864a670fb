import { isWakefulError } from "../../domain/errors.ts";
import { type DurationMs, seconds } from "../../domain/time.ts";
import { holdsBackMany, isOverdueTransaction, type ReaderLimits, shortReadMs } from "../../liveness/old-readers.ts";
import type { Tell } from "../../notify/raise-alert.ts";
import { costText, mebibytesText, type OldReader, type OldReaders } from "../../observe/old-readers.ts";

export interface ReaderWatchDeps {
  readonly limits: ReaderLimits;
  readonly observe: () => Promise<OldReaders>;
  /** Whether the store is a server's, which is asked less often. */
  readonly server: boolean;
  /** Of several daemons one tells. Absent: this one does. */
  readonly isOurs?: (() => boolean) | undefined;
  readonly tell: Tell;
  readonly monoNow: () => number;
}

/** Between two questions to a server: its limits are minutes. */
const serverPeriodMs: DurationMs = seconds(30);

const cause = "store.reader_overdue";

/**
 * Tells of whoever reads an old state of the store for so long that what is kept for it hurts: of one at a time, the oldest, once, and when
 * it is gone. It ends nobody's transaction.
 */
export class ReaderWatch {
  readonly #deps: ReaderWatchDeps;
  #askAtMono = Number.NEGATIVE_INFINITY;
  /** When each was first seen to hold back too much, and still does. */
  #since = new Map<string, number>();
  #told: { readonly reader: OldReader; readonly atMono: number } | undefined;

  constructor(deps: ReaderWatchDeps) {
    this.#deps = deps;
  }

  async look(): Promise<void> {
    const { observe, server, monoNow, isOurs = () => true } = this.#deps;
    const now = monoNow();
    if (now < this.#askAtMono || !isOurs()) return;
    if (server) this.#askAtMono = now + serverPeriodMs;
    const found = await observe().catch((thrown: unknown) => {
      // The store's own watch tells of a store that does not answer.
      if (isWakefulError(thrown)) return undefined;
      throw thrown;
    });
    if (found === undefined) return;
    const overdue = this.#overdue(found, now);
    if (this.#told !== undefined && overdue.some(({ id }) => id === this.#told?.reader.id)) return;
    const [oldest] = overdue;
    if (this.#told !== undefined) await this.#tellGone(this.#told, now, oldest === undefined);
    this.#told = undefined;
    if (oldest === undefined) return;
    // Before it is told, so that nobody is reported twice where the report fails.
    this.#told = { reader: oldest, atMono: now };
    await this.#tellOverdue(oldest, found.logBytes, overdue.length - 1);
  }

  #overdue({ logBytes, logHeld, readers }: OldReaders, now: number): readonly OldReader[] {
    const { limits } = this.#deps;
    const logLong = logHeld && logBytes !== null && logBytes > limits.alertLogBytes;
    const since = this.#since;
    this.#since = new Map();
    return readers.filter((reader) => {
      const { id, transactions, ageMs, catalogOnly } = reader;
      const open = transactions === null ? undefined : { ageMs, transactions, catalogOnly };
      if (open === undefined ? !logLong : !holdsBackMany(open)) return false;
      const first = since.get(id) ?? now;
      this.#since.set(id, first);
      return open === undefined ? now - first >= shortReadMs : isOverdueTransaction(open, limits, now - first);
    });
  }

  async #tellOverdue({ kind, who, ageMs, transactions, remedy }: OldReader, logBytes: number | null, others: number): Promise<void> {
    const { emit, alert } = this.#deps.tell;
    const harm =
      logBytes === null
        ? `, ${costText({ ageMs, transactions })}: nothing that ended since is vacuumed`
        : `, and its log has grown to ${mebibytesText(logBytes)}`;
    const more = others === 0 ? "" : ` ${others} more after it.`;
    emit("store.reader_overdue", { kind, who, logBytes, ageMs, transactions, remedy });
    await alert({
      cause,
      title: `${who} reads an old state of the store${harm}. ${remedy}${more}`,
      details: { kind, who, logBytes, ageMs, transactions, remedy, others },
    });
  }

  async #tellGone({ reader: { kind, who }, atMono }: { reader: OldReader; atMono: number }, now: number, last: boolean): Promise<void> {
    const { emit, alert } = this.#deps.tell;
    const afterMs = Math.round(now - atMono);
    emit("store.reader_gone", { kind, who, afterMs });
    if (!last) return;
    await alert({
      cause,
      title: `${who} no longer reads an old state of the store: what was kept for it is cleaned up`,
      details: { kind, who, afterMs },
    });
  }
}
