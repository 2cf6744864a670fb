import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";

/**
 * Text, so that it needs no file of its own: the library is compiled file by file, the programs are bundled. It prepares no statement,
 * which the driver would free only after the connection.
 */
const program = `
const { parentPort, workerData } = require("node:worker_threads");
const { DatabaseSync } = require(workerData.driver);
const db = new DatabaseSync(workerData.path, { timeout: 0 });
parentPort.on("message", (message) => {
  if (message === "checkpoint") {
    db.exec("pragma wal_checkpoint(passive)");
    parentPort.postMessage("done");
  } else {
    db.close();
    parentPort.close();
  }
});
`;

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** A thread with a connection of its own, which writes the log back into the file while the event loop goes on. */
export class CheckpointThread {
  readonly #worker: Worker;
  readonly #ended: Promise<void>;
  #waiting: Waiting | undefined;

  constructor(path: string) {
    const driver = createRequire(import.meta.url).resolve("@photostructure/sqlite");
    this.#worker = new Worker(program, { eval: true, workerData: { driver, path }, execArgv: [], env: {} });
    // It keeps no process alive that is not closing its store: what it has not written back, the next opening does.
    this.#worker.unref();
    this.#worker.on("message", () => this.#take()?.resolve());
    this.#worker.on("error", (thrown) => this.#take()?.reject(thrown));
    this.#ended = new Promise((resolve) => {
      this.#worker.once("exit", () => {
        this.#take()?.reject(new Error("the thread that writes the log back has ended"));
        resolve();
      });
    });
  }

  /**
   * A passive checkpoint: it waits for nobody, and nobody who reads or writes waits for it. One at a time. Rejects when the file cannot be
   * opened or written, or the thread has ended.
   */
  async checkpoint(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#worker.postMessage("checkpoint", []);
    });
  }

  /** From now on the process outlives the thread: somebody waits for its end. */
  hold(): void {
    this.#worker.ref();
  }

  /** Resolves when its connection is closed, after the checkpoint under way. */
  async stop(): Promise<void> {
    this.#worker.postMessage("stop", []);
    await this.#ended;
  }

  #take(): Waiting | undefined {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    return waiting;
  }
}
