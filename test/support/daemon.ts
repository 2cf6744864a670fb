import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { LoopName } from "../../src/config/loop-names.ts";
import { adminTokenPath } from "../../src/http/tokens.ts";
import { type Daemon, type DaemonOptions, type StopMode, startDaemon } from "../../src/main.ts";
import { loadConfiguration } from "../../src/pipelines/reading/load.ts";
import { api } from "../../src/protocol/api/index.ts";
import { type Client, createClient } from "../../src/protocol/client.ts";
import type { FakeClock } from "../../src/runtime/fake-clock.ts";
import { tempDir } from "./temp-dir.ts";
import { until } from "./until.ts";

/** A whole daemon in this process, on a folder with a `wakeful.yaml`, and a client of its API. */
export interface TestDaemon {
  readonly folder: string;
  readonly dataDir: string;
  readonly daemon: Daemon;
  readonly client: Client;
  readonly log: readonly string[];
  readonly stop: (mode?: StopMode) => Promise<void>;
}

export interface TestDaemonOptions {
  readonly yaml: string;
  readonly folder?: string | undefined;
  readonly flags?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly clock?: DaemonOptions["clock"];
  /** Path of a bundled handler host; absent: handlers are not run. */
  readonly handlerHost?: string;
  /** Path of a bundled path helper; absent: the daemon touches shares itself. */
  readonly pathHelper?: string;
}

export async function startTestDaemon(options: TestDaemonOptions): Promise<TestDaemon> {
  const folder = options.folder ?? tempDir("daemon");
  await writeFile(join(folder, "wakeful.yaml"), options.yaml);
  const env = { PATH: process.env.PATH, ...options.env };
  const flags = { "http.listen": "127.0.0.1:0", ...options.flags };
  const configuration = await loadConfiguration({ cwd: folder, env, flags });
  const log: string[] = [];
  const daemon = await startDaemon({
    configuration,
    environment: env,
    output: { log: (line) => log.push(line), handlers: () => undefined, onDropped: () => undefined },
    handlerHost: options.handlerHost === undefined ? undefined : [process.execPath, options.handlerHost],
    pathHelper: options.pathHelper === undefined ? undefined : [process.execPath, options.pathHelper],
    clock: options.clock,
  });
  let stopped = false;
  const stop = async (mode: StopMode = "interrupt"): Promise<void> => {
    if (stopped) return;
    stopped = true;
    await daemon.stop(mode);
  };
  onTestFinished(() => stop());
  const { dataDir } = configuration.config;
  const token = (await readFile(adminTokenPath(dataDir), "utf8")).trim();
  return { folder, dataDir, daemon, client: createClient({ url: daemon.url, token }), log, stop };
}

/** So much later on the daemon's clock, with ticks of a loop on the way: its own silence excuses nobody. */
export async function passTime(
  { client, clock }: { readonly client: Client; readonly clock: FakeClock },
  { loop, ms, stepMs = 1000 }: { readonly loop: LoopName; readonly ms: number; readonly stepMs?: number },
): Promise<void> {
  for (let left = ms; left > 0; left -= stepMs) {
    clock.advance(Math.min(left, stepMs));
    await client.call(api.runLoop, { params: { name: loop }, body: {} });
  }
}

/** One stage that runs `script` with sh. */
export const oneStage = (script: string, stage = ""): string => `
dataDir: ./data
pipelines:
  p:
    stages:
      work:
        run: { command: [sh, -c, ${JSON.stringify(script)}] }
        timeout: 1h
        retry: { min: 0s, max: 0s }
        ${stage}
`;

export async function submit(client: Client, key: string): Promise<number> {
  const { item } = await client.call(api.submitItem, { params: { name: "p" }, body: { key } });
  return item.id;
}

export async function untilItem(client: Client, id: number, state: string) {
  return until(
    async () => {
      const found = await client.call(api.getItem, { params: { id } });
      return found.item.state === state ? found : undefined;
    },
    { what: `item ${id} to be ${state}` },
  );
}
