import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { faketimeEnvironment, faketimeLibrary } from "../../test/support/faketime.ts";
import { type PostgresServer, startPostgresServer } from "../../test/support/postgres-server.ts";
import { openTcpProxy, type TcpProxy } from "../../test/support/tcp-proxy-listener.ts";
import { makeTempDir } from "../../test/support/temp-dir-maker.ts";
import { Disks } from "./disks.ts";
import { Ledger } from "./ledger.ts";
import type { Limits } from "./limits.ts";
import { makePlaces, placesOf, unmount } from "./places.ts";
import { allProcesses, signalProcess } from "./process-tree.ts";
import { writeProject, writeWork } from "./project.ts";
import type { SetUp } from "./set-up.ts";
import { WorldDaemon } from "./world-daemon.ts";

/** A PostgreSQL server with a proxy between it and each daemon. */
export interface WorldServer {
  readonly server: PostgresServer;
  readonly proxies: readonly TcpProxy[];
  /** One statement on a connection of its own, past the proxies. */
  readonly ask: (text: string) => Promise<void>;
  /** Sets its clock forward, where libfaketime is installed. */
  readonly setForward: (seconds: number) => void;
  readonly close: () => Promise<void>;
}

export interface WorldOptions {
  readonly setUp: SetUp;
  readonly limits: Limits;
}

/** Room of the disk of a data directory, and inodes of the disk of its `runs`. */
const dataDisk = "size=96m,nr_inodes=200k";
const runsDisk = "size=64m,nr_inodes=20k";

/** Everything that faults happen to: daemons, their stores and disks, and the ledger of their work. */
export class World {
  readonly setUp: SetUp;
  readonly limits: Limits;
  readonly folder: string;
  readonly ledger: Ledger;
  readonly daemons: readonly WorldDaemon[];
  /** Undefined on SQLite. */
  readonly postgres: WorldServer | undefined;
  readonly #disks: Disks | undefined;
  readonly #remove: () => void;

  private constructor(options: WorldOptions, parts: { postgres: WorldServer | undefined; folder: string; remove: () => void }) {
    this.setUp = options.setUp;
    this.limits = options.limits;
    this.folder = parts.folder;
    this.#remove = parts.remove;
    this.postgres = parts.postgres;
    this.ledger = new Ledger(writeWork(this.folder).ledgerPath);
    this.#disks = Disks.mounted();
    makePlaces(this.folder, { mounted: this.#disks !== undefined });
    const names = options.setUp === "postgres-two" ? ["a", "b"] : ["a"];
    this.daemons = names.map((name, at) => this.#addDaemon(name, parts.postgres?.proxies[at]?.url));
  }

  static async open(options: WorldOptions): Promise<World> {
    const { path: folder, remove } = makeTempDir("faults");
    const postgres = options.setUp === "sqlite" ? undefined : await openServer(options.setUp === "postgres-two" ? 2 : 1);
    const world = new World(options, { postgres, folder, remove });
    try {
      // One after the other: the first one makes the schema.
      for (const daemon of world.daemons) {
        daemon.start();
        await daemon.ready();
      }
      return world;
    } catch (thrown) {
      await world.close();
      throw thrown;
    }
  }

  #addDaemon(name: string, store: string | undefined): WorldDaemon {
    const folder = join(this.folder, name);
    const disk = join(folder, "disk");
    const dataDir = join(disk, "data");
    mkdirSync(folder, { recursive: true });
    this.#disks?.mount(disk, dataDisk);
    this.#disks?.mount(join(folder, "runs-disk"), runsDisk);
    if (this.#disks !== undefined) {
      mkdirSync(dataDir, { recursive: true, mode: 0o700 });
      mkdirSync(join(folder, "runs-disk/runs"), { mode: 0o700 });
      this.#disks.bind(join(folder, "runs-disk/runs"), join(dataDir, "runs"));
    }
    writeProject({ folder, dataDir, store, limits: this.limits });
    return new WorldDaemon(folder, dataDir);
  }

  /** A daemon to ask: one that is alive, or the first. */
  get speaker(): WorldDaemon {
    const [first] = this.daemons;
    const speaker = this.daemons.find(({ alive }) => alive) ?? first;
    if (speaker === undefined) throw new Error("a world has a daemon");
    return speaker;
  }

  async close(): Promise<void> {
    await Promise.all(this.daemons.map((daemon) => daemon.stop()));
    // What a killed daemon left, and nothing else: all of it names this world's folder.
    for (const { pid, args } of allProcesses()) if (args.includes(this.folder)) signalProcess(pid, "SIGKILL");
    await this.postgres?.close();
    const { share, hung } = placesOf(this.folder);
    for (const place of [share, hung]) unmount(place);
    this.#disks?.unmountAll();
    for (const name of this.daemons.map(({ folder }) => folder)) rmSync(name, { recursive: true, force: true, maxRetries: 5 });
    this.#remove();
  }
}

async function openServer(proxyCount: number): Promise<WorldServer> {
  // Not in the world's folder: the server's account has to read it.
  const clock = mkdtempSync("/tmp/wakeful-bench-clock-");
  const clockFile = join(clock, "ahead");
  writeFileSync(clockFile, "+0");
  chmodSync(clock, 0o755);
  const server = await startPostgresServer({
    environment: faketimeLibrary === undefined ? {} : faketimeEnvironment(faketimeLibrary, clockFile),
  });
  const ask = async (text: string): Promise<void> => {
    const client = new pg.Client({ connectionString: server.url, options: "-c default_transaction_read_only=off" });
    client.on("error", () => undefined);
    await client.connect();
    try {
      await client.query(text);
    } finally {
      await client.end();
    }
  };
  await ask("create database work");
  const url = server.url.replace(/\/postgres$/, "/work");
  const proxies = await Promise.all(Array.from({ length: proxyCount }, () => openTcpProxy(url)));
  let ahead = 0;
  const setForward = (seconds: number): void => {
    ahead += seconds;
    writeFileSync(clockFile, `+${ahead}`);
  };
  const close = async (): Promise<void> => {
    for (const proxy of proxies) proxy.close();
    await server.stop();
    rmSync(clock, { recursive: true });
  };
  return { server, proxies, ask, setForward, close };
}
