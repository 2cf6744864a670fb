import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { api } from "../../src/protocol/api/index.ts";
import { type Client, createClient } from "../../src/protocol/client.ts";
import { childrenOf, isAlive, within } from "./process-tree.ts";
import { program } from "./project.ts";

const readyWithinMs = 30_000;
const endWithinMs = 30_000;
/** A daemon that is stopped answers nothing; another call is worth more than a longer wait. */
const callWithinMs = 2000;

/** One `wakeful up` of a world, which may be killed and started again. */
export class WorldDaemon {
  readonly folder: string;
  readonly dataDir: string;
  #child: ChildProcess | undefined;
  #client: Client | undefined;

  constructor(folder: string, dataDir: string) {
    this.folder = folder;
    this.dataDir = dataDir;
  }

  /** Its process id; of one that has ended, the last. */
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get alive(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Whether anybody reads what it says. */
  readOutput(whether: boolean): void {
    for (const stream of [this.#child?.stdout, this.#child?.stderr]) {
      if (whether) stream?.resume();
      else stream?.pause();
    }
  }

  /** Nobody will ever read what it says. */
  closeOutput(): void {
    for (const stream of [this.#child?.stdout, this.#child?.stderr]) stream?.destroy();
  }

  /** Starts the process, and does not wait for it. */
  start(): void {
    if (this.alive) return;
    const log = join(this.folder, "daemon.log");
    const env = { PATH: process.env["PATH"], HOME: this.folder };
    const child = spawn(process.execPath, [program, "up"], { cwd: this.folder, env, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => appendFileSync(log, chunk));
    this.#child = child;
  }

  /** @throws Error when it has ended, or is not ready in time. */
  async ready(): Promise<void> {
    const open = createClient({ socketPath: this.#socketPath, timeoutMs: callWithinMs });
    const isReady = async (): Promise<boolean> => {
      if (!this.alive) throw new Error(`the daemon in ${this.folder} ended: ${this.lastWords()}`);
      return await open.call(api.readyz, {}).then(
        ({ ready }) => ready,
        // Not listening yet.
        () => false,
      );
    };
    if (!(await within(readyWithinMs, isReady))) throw new Error(`the daemon in ${this.folder} is not ready: ${this.lastWords()}`);
  }

  get client(): Client {
    this.#client ??= createClient({
      socketPath: this.#socketPath,
      token: readFileSync(join(this.dataDir, "tokens/admin"), "utf8").trim(),
      actor: "bench",
      timeoutMs: callWithinMs,
    });
    return this.#client;
  }

  get #socketPath(): string {
    return join(this.dataDir, "wakeful.sock");
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Resolves once it has ended; to false when it does not in time. */
  async ended(): Promise<boolean> {
    const child = this.#child;
    if (child === undefined || !this.alive) return true;
    const exited = once(child, "exit").then(() => true);
    return await Promise.race([exited, pause(endWithinMs, false, { ref: false })]);
  }

  /** Undefined while none has been started. */
  handlerHostPid(): number | undefined {
    return childrenOf(this.pid).find(({ pid, args }) => args.includes("handler-host.js") && isAlive(pid))?.pid;
  }

  /** Ends it whatever it does, commands too where it still can. */
  async stop(): Promise<void> {
    if (!this.alive) return;
    this.signal("SIGCONT");
    this.signal("SIGINT");
    if (await this.ended()) return;
    this.signal("SIGKILL");
    await this.ended();
  }

  lastWords(): string {
    try {
      return readFileSync(join(this.folder, "daemon.log"), "utf8").trim().split("\n").slice(-5).join(" | ");
    } catch {
      // It has said nothing.
      return "it said nothing";
    }
  }
}
