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

/** Gives a cell the store that it works on. */
export interface RunsCells {
  run<Result>(cell: QueueCell, body: (question: object) => Promise<Result>): Promise<Result>;
}

/** What the cells' systems stand on: one PostgreSQL server with a database for each cell, a Redis server for each cell. */
export class CellServers implements RunsCells {
  readonly #postgres: BenchPostgres | undefined;
  /** Of the servers that are in use. */
  readonly versions: readonly string[];

  private constructor(postgres: BenchPostgres | undefined, redis: string | undefined) {
    this.#postgres = postgres;
    this.versions = [postgres?.version, redis].flatMap((version) => version ?? []);
  }

  static async start(cells: readonly QueueCell[]): Promise<CellServers> {
    const wanted = (server: "postgres" | "redis"): boolean => cells.some(({ subject }) => serverOf[subject] === server);
    const redis = wanted("redis") ? redisVersion() : undefined;
    return new CellServers(wanted("postgres") ? await startBenchPostgres() : undefined, redis);
  }

  /** Runs a cell with an empty store. */
  async run<Result>({ subject, question }: QueueCell, body: (question: object) => Promise<Result>): Promise<Result> {
    return await this.inStore(subject, (store) => body({ ...question, ...store }), question["settings"] !== "best");
  }

  /** What a system's cells are told of an empty store on its server; nothing where they make their own. */
  async inStore<Result>(subject: Subject, body: (store: object) => Promise<Result>, persistent = true): Promise<Result> {
    const server = serverOf[subject];
    if (server === "postgres" && this.#postgres !== undefined) {
      const { pid } = this.#postgres;
      return await this.#postgres.inDatabase((store) => body({ store, serverPid: pid }));
    }
    if (server !== "redis") return await body({});
    const redis = await startBenchRedis({ persistent });
    try {
      return await body({ port: redis.port });
    } finally {
      await redis.stop();
    }
  }

  async stop(): Promise<void> {
    await this.#postgres?.stop();
  }
}
