import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

export interface BenchRedis {
  readonly port: number;
  stop(): Promise<void>;
}

/** `Redis 7.0.15`, or undefined when no server is installed. */
export function redisVersion(): string | undefined {
  const { stdout, status } = spawnSync("redis-server", ["--version"], { encoding: "utf8" });
  return status === 0 ? `Redis ${/v=(\S+)/.exec(stdout)?.[1] ?? "of unknown version"}` : undefined;
}

/** Run by a shell whose input ends with this process, however that went. `$0` is the server's folder. */
const script = `redis-server "$@" & server=$!; cat > /dev/null; kill -9 $server; wait $server; cd /; rm -rf "$0"`;

/** An empty server on a free port of the loopback, with the persistence that Redis comes with, or none. */
export async function startBenchRedis({ persistent }: { readonly persistent: boolean }): Promise<BenchRedis> {
  const folder = mkdtempSync(join(process.env["WAKEFUL_BENCH_DIR"] ?? tmpdir(), "wakeful-bench-redis-"));
  const port = await freePort();
  const options = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, ...(persistent ? [] : ["--save", ""])];
  const shell = spawn("sh", ["-c", script, folder, ...options], { cwd: folder, stdio: ["pipe", "ignore", "ignore"] });
  const redis = { port, stop: () => stopRedis(shell) };
  const deadline = performance.now() + 20_000;
  while (!(await answers(port))) {
    if (performance.now() > deadline) {
      await redis.stop();
      throw new Error("redis-server did not start");
    }
    await pause(20);
  }
  return redis;
}

async function stopRedis(shell: ChildProcess): Promise<void> {
  if (shell.exitCode !== null || shell.signalCode !== null) return;
  const ended = once(shell, "exit");
  shell.stdin?.end();
  await ended;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
    socket.once("data", (said) => {
      socket.destroy();
      resolve(said.toString().startsWith("+PONG"));
    });
    socket.once("error", () => resolve(false));
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  await new Promise((resolve) => void server.close(resolve));
  if (typeof address !== "object" || address === null) throw new Error("no free port");
  return address.port;
}
