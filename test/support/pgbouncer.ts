import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { freePort } from "./postgres-server.ts";
import { until } from "./until.ts";

const program = "/usr/sbin/pgbouncer";
export const hasPgbouncer = existsSync(program);

/** A PgBouncer of its own before a database, ended when the test ends. Answers the URL of the pool. */
export async function startPgbouncer(url: string, mode: "session" | "transaction" | "statement"): Promise<string> {
  const { hostname, port, username, password, pathname } = new URL(url);
  const folder = mkdtempSync("/tmp/wakeful-test-pgbouncer-");
  chmodSync(folder, 0o755);
  const listenPort = await freePort();
  const name = pathname.slice(1);
  writeFileSync(
    join(folder, "pgbouncer.ini"),
    `[databases]
${name} = host=${hostname} port=${port} dbname=${name} user=${username} password=${password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${listenPort}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
default_pool_size = 60
`,
  );
  // It refuses to be root.
  const account = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
  const child = spawn(program, [join(folder, "pgbouncer.ini")], { ...account, stdio: "ignore" });
  const gone = new Promise((resolve) => void child.once("exit", resolve));
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await gone;
    rmSync(folder, { recursive: true });
  });
  await until(
    () =>
      new Promise<boolean>((resolve) => {
        const socket = connect(listenPort, "127.0.0.1", () => {
          socket.destroy();
          resolve(true);
        });
        socket.once("error", () => resolve(false));
      }),
    { what: "PgBouncer to listen" },
  );
  return `postgres://${username}@127.0.0.1:${listenPort}/${name}`;
}
