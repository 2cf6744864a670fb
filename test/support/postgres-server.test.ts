import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { queryOnce } from "./postgres.ts";
import { startPostgresServer } from "./postgres-server.ts";
import { until } from "./until.ts";

const starter = `
  import { startPostgresServer } from ${JSON.stringify(join(dirname(fileURLToPath(import.meta.url)), "postgres-server.ts"))};
  const server = await startPostgresServer();
  console.log(server.url);
  setInterval(() => {}, 1000);
`;

function firstLineOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.stdout?.once("data", (chunk: Buffer) => resolve(chunk.toString().trim()));
    child.once("exit", (code) => reject(new Error(`ended with ${String(code)}`)));
  });
}

test("a server whose owner was killed is stopped by the next start; one whose owner lives is not", async () => {
  const living = await startPostgresServer();
  onTestFinished(() => living.stop());
  const owner = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "--eval", starter], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void owner.kill("SIGKILL"));
  const orphanUrl = await firstLineOf(owner);
  await queryOnce(orphanUrl, "select 1");
  owner.kill("SIGKILL");
  await until(() => owner.signalCode !== null, { what: "the owner to be gone" });
  await queryOnce(orphanUrl, "select 1");

  const next = await startPostgresServer();
  onTestFinished(() => next.stop());
  await expect(queryOnce(orphanUrl, "select 1")).rejects.toMatchObject({ code: "ECONNREFUSED" });
  await queryOnce(living.url, "select 1");
});

test("a stopped server leaves no file behind, and may be stopped twice", async () => {
  const server = await startPostgresServer();
  const folder = await dataFolderOf(server.url);
  expect(existsSync(folder)).toBe(true);
  await server.stop();
  await server.stop();
  expect(existsSync(dirname(folder))).toBe(false);
});

async function dataFolderOf(url: string): Promise<string> {
  const { default: pg } = await import("pg");
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<{ data_directory: string }>("show data_directory");
  await client.end();
  return rows[0]?.data_directory ?? "";
}

test("a server that was killed starts again on its port, with all that was committed", async () => {
  const server = await startPostgresServer();
  onTestFinished(() => server.stop());
  await queryOnce(server.url, "create table kept (id int)");
  const before = server.pid;
  await server.kill();
  await expect(queryOnce(server.url, "select 1")).rejects.toThrow("ECONNREFUSED");
  await server.startAgain();
  expect(server.pid).not.toBe(before);
  await queryOnce(server.url, "insert into kept values (1)");
});
