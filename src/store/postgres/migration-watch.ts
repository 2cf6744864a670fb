import { spanText } from "../../domain/durations.ts";
import { seconds } from "../../domain/time.ts";
import type { MigrationNews } from "../engine/migrator.ts";
import { type PostgresTarget, shortAnswers } from "./client-config.ts";
import { StoreClient } from "./store-client.ts";

const lookEveryMs = seconds(2);

/** A session that has waited for its client for so long waits over a dead path: between its statements pass milliseconds. */
const idleMaxMs = seconds(45);

/** Who keeps the session from going on, and how far its index is. */
const look = `
  select (
      select json_agg(json_build_object('pid', a.pid, 'program', a.application_name, 'state', a.state,
        'forMs', round(extract(epoch from clock_timestamp() - a.xact_start) * 1000)))
      from pg_stat_activity a where a.pid = any(pg_blocking_pids($1))
    ) as blockers, p.blocks_done as done, p.blocks_total as total,
    (select not coalesce(s.state like 'idle%' and extract(epoch from clock_timestamp() - s.state_change) * 1000 > ${idleMaxMs}, false)
      from pg_stat_activity s where s.pid = $1) as lives
  from (select $1::integer as pid) session left join pg_stat_progress_create_index p on p.pid = session.pid and p.blocks_total > 0`;

interface Look {
  readonly blockers:
    | readonly { readonly pid: number; readonly program: string; readonly state: string; readonly forMs: number | null }[]
    | null;
  readonly done: number | null;
  readonly total: number | null;
  /** Null: there is no such session any more. */
  readonly lives: boolean | null;
}

export interface MigrationEars {
  readonly hears: (news: MigrationNews) => void;
  /** The session is gone or waits in vain, and its own connection has not noticed. */
  readonly lost: (why: Error) => void;
}

/** Looks at the session that migrates from a connection of its own: that one is busy, for minutes where there are many rows. */
export class MigrationWatch {
  readonly #target: PostgresTarget;
  readonly #ears: MigrationEars;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor(target: PostgresTarget, ears: MigrationEars) {
    this.#target = target;
    this.#ears = ears;
  }

  otherMigrates(): void {
    this.#ears.hears({ waitsFor: "another program, which migrates it" });
  }

  start(pid: number): void {
    this.#timer = setInterval(() => {
      this.#looking ??= this.#look(pid).finally(() => {
        this.#looking = undefined;
      });
    }, lookEveryMs);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  async #look(pid: number): Promise<void> {
    const client = new StoreClient(shortAnswers(this.#target));
    try {
      await client.connect();
      const { rows } = await client.query<Look>(look, [pid]);
      const [row] = rows;
      // Its statement has no limit of its own: an index may take an hour.
      if (row !== undefined && row.lives !== true) {
        // Its lock would keep everybody else from migrating, until the server finds out by itself.
        await client.query("select pg_terminate_backend($1)", [pid]);
        this.#ears.lost(new ConnectionLost());
      }
      if (row === undefined || (row.blockers === null && row.total === null)) return;
      this.#ears.hears({ done: row.done ?? undefined, total: row.total ?? undefined, waitsFor: blockersText(row.blockers) });
    } catch {
      // News alone: the session itself finds out what is wrong with its server.
    } finally {
      await client.end().catch(() => undefined);
    }
  }
}

/** The code makes it "unavailable". */
class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
  readonly code = "ECONNRESET";

  constructor() {
    super("the server no longer hears the connection that migrates");
  }
}

function blockersText(blockers: Look["blockers"]): string | undefined {
  if (blockers === null) return undefined;
  return blockers
    .map(
      ({ pid, program, state, forMs }) =>
        `process ${pid} of the server (${program === "" ? "no name" : program}, ${state}${forMs === null ? "" : ` for ${spanText(forMs)}`})`,
    )
    .join(", ");
}
