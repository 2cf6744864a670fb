import { execFileSync, spawn } from "node:child_process";
import { appendFileSync, readlinkSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import pg from "pg";
import { onTestFinished } from "vitest";
import { freePort, type PostgresServer } from "./postgres-server.ts";

/** What a standby would have that had received everything up to one moment. */
export interface StandbyCopy {
  /** Promotes it: a server of the same system on a new timeline, which lacks what was written after the copy. Its URL. */
  promote(): Promise<string>;
}

/** Copies a server's files while nothing is written to it. */
export async function copyServer(server: PostgresServer): Promise<StandbyCopy> {
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  await client.query("checkpoint");
  const { rows } = await client.query<{ data_directory: string }>("show data_directory");
  await client.end();
  const data = rows[0]?.data_directory ?? "";
  // Beside the original, so that its stop removes both.
  const copy = join(dirname(data), "copy");
  execFileSync("cp", ["-a", data, copy]);
  rmSync(join(copy, "postmaster.pid"), { force: true });
  return { promote: async () => await promote(server, copy) };
}

async function promote(server: PostgresServer, copy: string): Promise<string> {
  const { uid, gid } = statSync(copy);
  // A recovery whose archive is empty ends at once, with a promotion.
  writeFileSync(join(copy, "recovery.signal"), "");
  appendFileSync(join(copy, "postgresql.auto.conf"), "restore_command = 'false'\n");
  const url = new URL(server.url);
  url.port = String(await freePort());
  const settings = ["fsync=off", "listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200"];
  const child = spawn(
    readlinkSync(`/proc/${server.pid}/exe`),
    ["-D", copy, "-p", url.port, ...settings.flatMap((setting) => ["-c", setting])],
    { cwd: copy, uid, gid, env: { LC_ALL: "C", TZ: "UTC" }, stdio: ["ignore", "ignore", "pipe"] },
  );
  onTestFinished(async () => {
    const gone = new Promise((resolve) => void child.once("exit", resolve));
    child.kill("SIGQUIT");
    await gone;
  });
  let said = "";
  await new Promise<void>((resolve, reject) => {
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes("ready to accept connections")) resolve();
    });
    child.once("exit", () => reject(new Error(`the copy did not start: ${said}`)));
  });
  return url.href;
}
