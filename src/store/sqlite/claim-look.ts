import type { ClaimRequest } from "../port/runs.ts";
import type { SqliteConnection } from "./connection.ts";

/**
 * Whether a claim could answer anything but nothing: a session that is not live and a queue that nobody knows are told by the claim itself,
 * and a claim that was answered before is answered again.
 */
const anythingToClaim = `
  select 1 from (select ?1 as worker_id, ?2 as claim_seq) c
  where not exists (select 1 from workers w where w.id = c.worker_id and w.state = 'live')
    or exists (select 1 from runs r indexed by runs_of_worker where r.worker_id = c.worker_id and r.claim_seq = c.claim_seq and r.ended_at is null)
    or exists (
      select 1 from json_each(?3) e left join queues q on q.name = e.value
      where q.id is null or (q.paused = 0 and exists (
        select 1 from jobs j indexed by jobs_claimable where j.queue_id = q.id and j.state = 'queued' and j.blocked_by is null and j.paused = 0)))`;

/**
 * Looks before a claim, so that the poll of an idle worker begins no write transaction. Only a filter: what becomes claimable after the
 * look is told by a hint, or found by the next poll. A claim that follows one with runs is not looked at first: there will be more.
 */
export class ClaimLook {
  readonly #connection: SqliteConnection;
  #dry = false;

  constructor(connection: SqliteConnection) {
    this.#connection = connection;
  }

  async around<Runs extends readonly unknown[]>(request: ClaimRequest, claim: () => Promise<Runs>, none: Runs): Promise<Runs> {
    if (this.#dry && !(await this.#anything(request))) return none;
    const runs = await claim();
    this.#dry = runs.length === 0;
    return runs;
  }

  async #anything({ workerId, claimSeq, queues }: ClaimRequest): Promise<boolean> {
    const names = JSON.stringify(queues.map(({ name }) => name));
    return await this.#connection.exclusive(() => this.#connection.prepare(anythingToClaim).get(workerId, claimSeq, names) !== undefined);
  }
}
