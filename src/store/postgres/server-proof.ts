import pg from "pg";
import { codeOf } from "../../domain/errors.ts";
import { StoreUnavailableError } from "../port/errors.ts";

const insufficientPrivilege = "42501";

/** Which server, and since which promotion or restore: `system 7301..., timeline 00000002`. */
export type ServerIdentity = string;

interface Answer {
  readonly pid: number;
  readonly standby: boolean;
  readonly onlyReads: boolean;
  readonly identity?: ServerIdentity | null;
}

const facts = `pg_backend_pid() as pid, pg_is_in_recovery() as standby, current_setting('transaction_read_only') = 'on' as "onlyReads"`;
const identity = `'system ' || system_identifier || ', timeline ' ||
  case when pg_is_in_recovery() then '' else substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end as identity`;

/** What a connection is opened as. */
interface Proving {
  readonly settings: Readonly<Record<string, string>>;
  readonly readOnly: boolean;
  readonly name: string;
}

/**
 * Each connection proves before its first statement that its server takes writes and is the one of before. Another one first raises the
 * store epoch, so that no run id is given out twice.
 */
export class ServerProof {
  #known: ServerIdentity | undefined;
  #follow: ((client: pg.Client, found: ServerIdentity) => Promise<void>) | undefined;

  /** The server that all connections so far have reached. Undefined: none yet, or it hides its identity from this role. */
  get known(): ServerIdentity | undefined {
    return this.#known;
  }

  /** From now on another server is followed. Before that, a store being opened has no table to write it to, and refuses it. */
  followWith(follow: (client: pg.Client, found: ServerIdentity) => Promise<void>): void {
    this.#follow = follow;
  }

  /**
   * Says the settings, and asks who answers: one round trip. Settings are said as statements, because a pooler takes no start-up options.
   * Answers the number of the server's process.
   *
   * @throws {StoreUnavailableError} a standby, or a server that only answers reads.
   */
  async prove(client: pg.Client, target: Proving): Promise<number> {
    const answer = await ask(client, target);
    if (target.readOnly) return answer.pid;
    if (answer.standby || answer.onlyReads) {
      const found = answer.standby ? "it is a standby" : "it is set to read only";
      throw new StoreUnavailableError(`${target.name} only answers reads now: ${found}. It is tried again by itself.`, {
        details: { store: target.name, readOnly: true },
      });
    }
    const found = answer.identity ?? undefined;
    if (found === undefined || found === this.#known) return answer.pid;
    if (this.#follow !== undefined) await this.#follow(client, found);
    else if (this.#known !== undefined)
      throw new StoreUnavailableError(`${target.name} became another server while it was being opened. Start again.`, {
        details: { store: target.name },
      });
    this.#known = found;
    return answer.pid;
  }
}

async function ask(client: pg.Client, { settings }: Proving): Promise<Answer> {
  const said = Object.entries(settings).map(([name, value]) => `set ${name} to ${pg.escapeLiteral(value)}`);
  const text = (select: string): string => [...said, select].join("; ");
  try {
    return await lastRow(client, text(`select ${facts}, ${identity} from pg_control_system()`));
  } catch (thrown) {
    // A server that hides its identity from this role leaves the start counter as the only guard against restores.
    if (codeOf(thrown) !== insufficientPrivilege) throw thrown;
    return await lastRow(client, text(`select ${facts}`));
  }
}

async function lastRow(client: pg.Client, text: string): Promise<Answer> {
  // Several statements in one text are answered by as many results, which the driver's types do not know.
  const results = (await client.query(text)) as pg.QueryResult<Answer> | readonly pg.QueryResult<Answer>[];
  const row = [results].flat().at(-1)?.rows[0];
  if (row === undefined) throw new Error("the server did not say who it is");
  return row;
}
