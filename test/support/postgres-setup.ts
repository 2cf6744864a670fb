/** Vitest global setup: answers test processes that ask for PostgreSQL, starts it when the first one does, and clears up at the end. */
import { randomBytes } from "node:crypto";
import { createServer } from "node:net";
import { join } from "node:path";
import pg from "pg";
import type { TestProject } from "vitest/node";
import { type PostgresServer, startPostgresServer } from "./postgres-server.ts";
import { makeTempDir } from "./temp-dir-maker.ts";

declare module "vitest" {
  interface ProvidedContext {
    postgresSocket: string;
    /** Prefix of every database of this run, so that its end can drop what tests left on a foreign server. */
    postgresNamePrefix: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const namePrefix = `wakeful_test_${randomBytes(4).toString("hex")}_`;
  const folder = makeTempDir("run");
  let started: ReturnType<typeof openServer> | undefined;
  const server = createServer((socket) => {
    // A test process killed while it asked must not fail the others.
    socket.on("error", () => socket.destroy());
    started ??= openServer();
    started.then(
      ({ url }) => socket.end(JSON.stringify({ url })),
      (error: unknown) =>
        socket.end(JSON.stringify({ error: `PostgreSQL for tests: ${error instanceof Error ? error.message : String(error)}` })),
    );
  });
  const socketPath = join(folder.path, "postgres.sock");
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(socketPath, resolve);
  });
  project.provide("postgresSocket", socketPath);
  project.provide("postgresNamePrefix", namePrefix);

  return async () => {
    server.close();
    // A server that never started was reported to those who asked for it.
    const running = await started?.catch(() => undefined);
    if (running !== undefined) {
      await dropDatabases(running.url, namePrefix);
      await running.stop();
    }
    folder.remove();
  };
}

function openServer(): Promise<Pick<PostgresServer, "url" | "stop">> {
  const url = process.env["WAKEFUL_TEST_POSTGRES_URL"];
  return url === undefined || url === "" ? startPostgresServer() : Promise.resolve({ url, stop: () => Promise.resolve() });
}

async function dropDatabases(url: string, namePrefix: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ datname: string }>("select datname from pg_database where starts_with(datname, $1)", [
      namePrefix,
    ]);
    for (const { datname } of rows) await client.query(`drop database if exists ${pg.escapeIdentifier(datname)} with (force)`);
  } finally {
    await client.end();
  }
}
