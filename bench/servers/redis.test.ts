import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { skipTest } from "../../test/support/skips.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import { until } from "../../test/support/until.ts";
import { redisVersion } from "./redis.ts";

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true));
    socket.once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}

test("a server ends with the process that started it, however that went", async (context) => {
  if (redisVersion() === undefined) skipTest(context, "redis-server is not installed");
  const folder = tempDir("redis");
  const module = fileURLToPath(new URL("redis.ts", import.meta.url));
  const script = `const { startBenchRedis } = await import(${JSON.stringify(module)});
    console.log((await startBenchRedis({ persistent: false })).port);
    setInterval(() => undefined, 1000);`;
  const owner = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, WAKEFUL_BENCH_DIR: folder },
  });
  const [said] = (await once(owner.stdout, "data")) as [Buffer];
  const port = Number(said.toString());
  expect(await isOpen(port)).toBe(true);
  owner.kill("SIGKILL");
  await until(async () => !(await isOpen(port)) && readdirSync(folder).length === 0);
});
