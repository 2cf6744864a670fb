import { firstIdOfEpoch } from "../../domain/ids.ts";
import type { SqliteConnection } from "./connection.ts";

/** How many ids one write to the file sets aside. Ids that a crash leaves unused are never given out. */
const blockSize = 100_000;

/**
 * Run ids of the process that owns the file, set aside in blocks by an earlier commit. The table cannot tell what was given out: retention
 * deletes rows, and a crash forgets claims.
 */
export class SqliteRunIds {
  readonly #connection: SqliteConnection;
  #next = 0;
  #end = 0;

  constructor(connection: SqliteConnection) {
    this.#connection = connection;
  }

  /** Makes sure that `count` contiguous ids can be taken. Call it inside `exclusive`, before the transaction that takes them. At most 100 000. */
  reserve(count: number): void {
    if (this.#end - this.#next >= count) return;
    this.#connection.immediate(() => {
      const read = (name: string): number => {
        const row = this.#connection.prepare("select value from meta where name = ?").get(name) as { readonly value: string } | undefined;
        return row === undefined ? 0 : Number(row.value);
      };
      // Ids begin at 1 in each epoch's range, so that 0 stays free to mean none.
      const from = Math.max(read("run_ids_set_aside") + 1, firstIdOfEpoch(read("store_epoch")) + 1);
      this.#connection
        .prepare("insert into meta (name, value) values ('run_ids_set_aside', ?) on conflict (name) do update set value = excluded.value")
        .run(String(from + blockSize - 1));
      this.#next = from;
      this.#end = from + blockSize;
    });
  }

  /** The first of `count` contiguous ids. A transaction that is rolled back leaves a gap, nothing worse. */
  take(count: number): number {
    if (this.#end - this.#next < count)
      throw new RangeError(`${count} run ids are wanted and ${this.#end - this.#next} are set aside: call reserve first`);
    const first = this.#next;
    this.#next += count;
    return first;
  }

  /** The store epoch rose: what was set aside belongs to the old one. */
  forget(): void {
    this.#next = 0;
    this.#end = 0;
  }
}
