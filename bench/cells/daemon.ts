import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "../../src/index.ts";
import { whenStopped } from "./answer.ts";
import { library, wakeful } from "./built.ts";

const { api, createClient } = library;

/** A built daemon in a folder of its own, at its defaults but for the number of commands at once. */
export class BenchDaemon {
  readonly folder: string;
  readonly process: ChildProcess;
  /** From the start of the process until it was ready for work. */
  readonly readyAfterMs: number;
  readonly client: Client;

  private constructor(folder: string, child: ChildProcess, readyAfterMs: number, client: Client) {
    this.folder = folder;
    this.process = child;
    this.readyAfterMs = readyAfterMs;
    this.client = client;
  }

  static async start(folder: string): Promise<BenchDaemon> {
    const began = performance.now();
    const child = spawn(process.execPath, [wakeful, "up"], { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
    whenStopped(() => end(child, "SIGINT"));
    let said = "";
    child.stderr?.on("data", (text: Buffer) => {
      said += text.toString();
    });
    const socketPath = join(folder, "data/wakeful.sock");
    const open = createClient({ socketPath, timeoutMs: 1000 });
    for (;;) {
      if (child.exitCode !== null) throw new Error(`the daemon ended: ${said}`);
      const ready = await open.call(api.readyz, {}).then(
        (answer) => answer.ready,
        // Not listening yet.
        () => false,
      );
      if (ready) break;
      await pause(2);
    }
    const readyAfterMs = performance.now() - began;
    const token = readFileSync(join(folder, "data/tokens/admin"), "utf8").trim();
    return new BenchDaemon(folder, child, readyAfterMs, createClient({ socketPath, token, actor: "bench" }));
  }

  async kill(): Promise<void> {
    await end(this.process, "SIGKILL");
  }

  /** Stops its commands too. */
  async stop(): Promise<void> {
    await end(this.process, "SIGINT");
  }
}

async function end(daemon: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (daemon.exitCode !== null || daemon.signalCode !== null) return;
  const exited = once(daemon, "exit");
  daemon.kill(signal);
  await exited;
}

/** A pipeline of one stage whose runs write a line into `starts` in their item's folder, and then go on for ten minutes. */
export function writeProject(folder: string, stage: "command" | "handler"): void {
  const run = stage === "command" ? 'command: [sh, -c, "echo $$ >> starts.$WAKEFUL_ITEM_KEY; exec sleep 600"]' : "handler: work";
  writeFileSync(
    join(folder, "wakeful.yaml"),
    `dataDir: ./data
http: { listen: "127.0.0.1:0" }
worker: { concurrency: 20${stage === "handler" ? ", handlers: ./handlers.mjs" : ""} }
pipelines:
  bench:
    stages:
      work: { run: { ${run} }, attempts: 50, maxLosses: 50 }
`,
  );
  writeFileSync(
    join(folder, "handlers.mjs"),
    `import { appendFileSync } from "node:fs";
export async function work(job, context) {
  appendFileSync(${JSON.stringify(folder)} + "/starts." + job.itemKey, process.pid + "\\n");
  await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
}
`,
  );
}

/** The process ids that the runs of an item have written, oldest first. */
export function startsOf(folder: string, key: string): readonly number[] {
  const path = join(folder, `starts.${key}`);
  return existsSync(path) ? readFileSync(path, "utf8").trim().split("\n").filter(Boolean).map(Number) : [];
}

/** All keys with at least one start. */
export const startedKeys = (folder: string): readonly string[] =>
  readdirSync(folder)
    .filter((name) => name.startsWith("starts."))
    .map((name) => name.slice("starts.".length));

/** Looks every millisecond; resolves to how long it took. */
export async function timeUntil(condition: () => boolean, what: string): Promise<number> {
  const began = performance.now();
  while (!condition()) {
    if (performance.now() - began > 60_000) throw new Error(`${what} did not happen within a minute`);
    await pause(1);
  }
  return performance.now() - began;
}
