import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { cli, fakeServing } from "../../../test/support/cli-call.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";
import type { Configuration } from "../../pipelines/reading/load.ts";
import type { CliHost } from "../host.ts";

test("up --json prints the daemon's log as JSON as well, unless a flag says otherwise", async () => {
  const seen: boolean[] = [];
  const startDaemon: CliHost["startDaemon"] = async ({ config }) => {
    seen.push(config.log.json);
    throw new Error("far enough");
  };
  const cwd = tempDir("cli");
  for (const argv of [["up"], ["up", "--json"], ["up", "--log-json"]]) await cli(argv, { cwd, host: { startDaemon } });
  expect(seen).toEqual([false, true, true]);
});

test("what up is told by flags stands above variables, and those above the file", async () => {
  const cwd = tempDir("cli");
  writeFileSync(join(cwd, "wakeful.yaml"), "http: { listen: 127.0.0.1:1001 }\nworker: { concurrency: 11 }\nlog: { level: warn }\n");
  const env = { WAKEFUL_WORKER_CONCURRENCY: "12", WAKEFUL_LOG_LEVEL: "debug" };
  const seen: Configuration[] = [];
  const serving = fakeServing();
  const startDaemon = async (configuration: Configuration) => {
    seen.push(configuration);
    return serving.host.startDaemon(configuration, { takeDataDir: false });
  };
  const running = cli(["up", "--listen", "127.0.0.1:1003", "--concurrency", "13"], { cwd, env, host: { ...serving.host, startDaemon } });
  await serving.started;
  serving.send("SIGTERM");
  expect((await running).code).toBe(0);
  expect(seen[0]?.config).toMatchObject({ http: { listen: { port: 1003 } }, worker: { concurrency: 13 }, log: { level: "debug" } });
});
