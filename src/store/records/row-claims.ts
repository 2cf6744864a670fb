import { sql } from "kysely";
import type { HostId } from "../../domain/ids.ts";
import { addMs, type DurationMs, type Instant, seconds } from "../../domain/time.ts";
import type { Engine } from "../engine/engine.ts";
import type { Database } from "../engine/tables.ts";

/** Tables whose rows a daemon claims before it acts outside the store for them. */
type ClaimedTable = {
  [Table in keyof Database]: "claim_fence" extends keyof Database[Table] ? Table : never;
}[keyof Database];

/** How long a claim lasts unless it is prolonged: at least twice the longest call that is made under it. */
const rowClaimMs: DurationMs = seconds(30);

/** A claim of one row. The fence is raised by each claim, so it names one claim and no other. */
export interface RowClaim {
  readonly id: number;
  readonly claimFence: number;
}

/** A row that nobody acts for: never claimed, given back, or its claim ran out. */
export const isFree = (now: Instant) => sql<boolean>`(claimed_until is null or claimed_until <= ${now})`;

/** Claims those of these rows that are free, and passes over those that another daemon is claiming. Answers the claims won. */
export async function claimRows(
  engine: Engine,
  { table, ids, by }: { readonly table: ClaimedTable; readonly ids: readonly number[]; readonly by: HostId },
): Promise<readonly RowClaim[]> {
  if (ids.length === 0) return [];
  const skipping = engine.capabilities.rowLocks ? sql`for update skip locked` : sql``;
  return await engine.transaction(async (tx) => {
    const now = engine.now();
    const { rows } = await sql<RowClaim>`
      with picked as materialized (
        select id from ${sql.table(table)} where id in (${sql.join(ids)}) and ${isFree(now)} order by id ${skipping}
      )
      update ${sql.table(table)} set claimed_by = ${by}, claimed_until = ${addMs(now, rowClaimMs)}, claim_fence = claim_fence + 1
      where id in (select id from picked) returning id, claim_fence as "claimFence"`.execute(tx);
    return rows;
  });
}

/** Makes these claims last from now on. Answers those that are still held; of the others somebody else has the row. */
export async function prolongClaims(
  engine: Engine,
  { table, claims }: { readonly table: ClaimedTable; readonly claims: readonly RowClaim[] },
): Promise<readonly number[]> {
  if (claims.length === 0) return [];
  const fences = new Map(claims.map(({ id, claimFence }) => [id, claimFence]));
  return await engine.transaction(async (tx) => {
    const until = addMs(engine.now(), rowClaimMs);
    const held: number[] = [];
    for (const id of [...fences.keys()].sort((a, b) => a - b)) {
      const { numAffectedRows } = await sql`update ${sql.table(table)} set claimed_until = ${until}
        where id = ${id} and claim_fence = ${fences.get(id) ?? 0} and claimed_until is not null`.execute(tx);
      if (numAffectedRows === 1n) held.push(id);
    }
    return held;
  });
}

/** Gives back all that this host holds: its daemon stops, or the one before it is proved dead. */
export async function releaseClaims(engine: Engine, { table, by }: { readonly table: ClaimedTable; readonly by: HostId }): Promise<void> {
  await sql`update ${sql.table(table)} set claimed_by = null, claimed_until = null where claimed_by = ${by}`.execute(engine.kysely);
}
