import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { api } from "../../../src/protocol/api/index.ts";
import { type Client, createClient } from "../../../src/protocol/client.ts";

/** `wakeful up` on the demo's folder, as a user would start it: killed and started again at will. */
export class DemoDaemon {
  readonly #folder: string;
  readonly #cli: string;
  #child: ChildProcess | undefined;
  #client: Client | undefined;

  constructor(options: { readonly folder: string; readonly cli: string }) {
    this.#folder = options.folder;
    this.#cli = options.cli;
  }

  get client(): Client {
    if (this.#client === undefined) throw new Error("The daemon has not been started.");
    return this.#client;
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error("The daemon has not been started.");
    return this.#child.pid;
  }

  get logFile(): string {
    return join(this.#folder, "daemon.log");
  }

  /** Resolves when `/readyz` says so, with the milliseconds it took. */
  async start(): Promise<number> {
    const startedAt = performance.now();
    const log = openSync(this.logFile, "a");
    this.#child = spawn(process.execPath, [this.#cli, "up"], { cwd: this.#folder, stdio: ["ignore", log, log], detached: true });
    const exited = once(this.#child, "exit").then(() => "exited" as const);
    for (;;) {
      if (await this.#isReady()) return performance.now() - startedAt;
      const next = await Promise.race([exited, after(25)]);
      if (next === "exited") throw new Error(`The daemon did not start:\n${await readFile(this.logFile, "utf8")}`);
      if (performance.now() - startedAt > 30_000) throw new Error(`The daemon was not ready within 30 s; see ${this.logFile}`);
    }
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }

  /** Lets the daemon live on when the demo ends. */
  release(): void {
    this.#child?.unref();
  }

  async #isReady(): Promise<boolean> {
    try {
      const token = (await readFile(join(this.#folder, "data", "tokens", "admin"), "utf8")).trim();
      const client = createClient({ socketPath: join(this.#folder, "data", "wakeful.sock"), token, actor: "demo" });
      const { ready } = await client.call(api.readyz, {});
      if (ready) this.#client = client;
      return ready;
    } catch {
      // Not there yet, which is what we are waiting for.
      return false;
    }
  }
}

export const after = (ms: number): Promise<"later"> => new Promise((resolve) => setTimeout(() => resolve("later"), ms));
