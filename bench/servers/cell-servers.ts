import { peerNames, preparePeers } from "../prepare-peers.ts";
import { type QueueCell, type Subject, serverOf } from "../queue/cells.ts";
import { type BenchPostgres, startBenchPostgres } from "./postgres.ts";
import { redisVersion, startBenchRedis } from "./redis.ts";

/** Why cells of a system cannot run; undefined when they can. Installs the peers. */
export function missingOf(say: (line: string) => void): (subject: Subject) => string | undefined {
  const missing = preparePeers(say);
  const redis = redisVersion() === undefined ? "there is no redis-server: apt-get install redis-server" : undefined;
  return (subject) => {
    const peer = peerNames.find((name) => name === subject);
    return (serverOf[subject] === "redis" ? redis : undefined) ?? (peer === undefined ? undefined : missing[peer]);
  };
}

/** What the cells' systems stand on: one PostgreSQL server with a database for each cell, a Redis server for each cell. */
export class CellServers {
  readonly #postgres: BenchPostgres | undefined;

  private constructor(postgres: BenchPostgres | undefined) {
    this.#postgres = postgres;
  }

  static async start(cells: readonly QueueCell[]): Promise<CellServers> {
    const wanted = cells.some(({ subject }) => serverOf[subject] === "postgres");
    return new CellServers(wanted ? await startBenchPostgres() : undefined);
  }

  get versions(): readonly string[] {
    return [this.#postgres?.version, redisVersion()].flatMap((version) => version ?? []);
  }

  /** Runs a cell with an empty store. */
  async run<Result>(cell: QueueCell, body: (question: object) => Promise<Result>): Promise<Result> {
    const { subject, question } = cell;
    const server = serverOf[subject];
    if (server === "postgres" && this.#postgres !== undefined) {
      const { pid } = this.#postgres;
      return await this.#postgres.inDatabase((url) => body({ ...question, url, serverPid: pid }));
    }
    if (server !== "redis") return await body(question);
    const redis = await startBenchRedis({ persistent: question["settings"] !== "best" });
    try {
      return await body({ ...question, port: redis.port });
    } finally {
      await redis.stop();
    }
  }

  async stop(): Promise<void> {
    await this.#postgres?.stop();
  }
}
