import { sql } from "kysely";
import { codeOf } from "../../domain/errors.ts";
import { lockStoreEpoch, readMeta, writeMeta } from "../engine/store-epoch.ts";
import { raiseEpochIn } from "../upkeep/start-record.ts";
import type { PostgresEngine } from "./engine.ts";

const name = "server_identity";
const insufficientPrivilege = "42501";

/**
 * Raises the store epoch when the server is another one, or on another timeline, than the store was last used on: a promotion or a
 * restore may have lost commits, and with them ids that were given out. Answers whether it did.
 */
export async function followServerIdentity(engine: PostgresEngine): Promise<boolean> {
  const identity = await serverIdentity(engine);
  if (identity === undefined) return false;
  const raised = await engine.transaction(async (tx) => {
    // Under a lock, so that of daemons that notice at once one raises.
    await lockStoreEpoch(engine, tx);
    const before = await readMeta(tx, name);
    if (before === identity) return false;
    await writeMeta(tx, name, identity);
    if (before === undefined) return false;
    await raiseEpochIn(engine, tx, `the server was ${before} and is ${identity}`);
    return true;
  });
  if (raised) engine.epochRaised();
  return raised;
}

async function serverIdentity(engine: PostgresEngine): Promise<string | undefined> {
  try {
    const { rows } = await sql<{
      identity: string;
    }>`select 'system ' || system_identifier || ', timeline ' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) as identity
      from pg_control_system()`.execute(engine.kysely);
    return rows[0]?.identity;
  } catch (thrown) {
    // A server that hides its identity from this role leaves the start counter as the only guard against restores.
    if (codeOf(thrown) === insufficientPrivilege) return undefined;
    throw thrown;
  }
}
