import { type ChildProcess, spawn } from "node:child_process";
import { messageOf, WakefulError } from "../../domain/errors.ts";
import { startedUmask, underStartedUmask } from "../../runtime/umask.ts";
import { type HelperCall, type HelperWord, uncarried } from "./helper-words.ts";

/** The helper's program and its arguments. */
export type HelperProgram = readonly [string, ...string[]];

/** Tells the helper that its daemon keeps its own files private. */
export const privateFlag = "--private";

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (thrown: Error) => void;
  readonly onAlive: () => void;
}

/**
 * A process that touches foreign paths in the daemon's place: a call that never returns holds a thread of that process, which can be killed.
 * It keeps no process alive, and ends when its daemon is gone.
 */
export class PathHelper {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  readonly #onGone: () => void;
  #calls = 0;
  #killed = false;
  #gone = false;

  /** @param onGone - called once, when the process has ended or could not be started. */
  constructor(program: HelperProgram, onGone: () => void) {
    this.#onGone = onGone;
    const [command, ...args] = program;
    const flags = startedUmask() === undefined ? [] : [privateFlag];
    this.#child = underStartedUmask(() =>
      // Its stderr is nobody's: a word of Node about a call that was killed helps no reader.
      spawn(command, [...args, ...flags], { cwd: "/", env: {}, stdio: ["ignore", "ignore", "ignore", "ipc"], serialization: "advanced" }),
    );
    this.#child.on("message", (word: HelperWord) => this.#hear(word));
    this.#child.on("error", (thrown) => {
      if (this.#child.pid === undefined) this.#over(`a helper process cannot be started: ${messageOf(thrown)}`);
    });
    this.#child.on("exit", () => this.#over("the helper process ended"));
    this.#child.unref();
    this.#child.channel?.unref();
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Whether it was told to end, or has ended. */
  get isOver(): boolean {
    return this.#killed || this.#gone;
  }

  /** Rejects with the operation's error, or `unavailable` when the process ends first. */
  async call(operation: string, args: unknown, onAlive: () => void): Promise<unknown> {
    if (this.#gone) throw lost("the helper process has ended");
    const id = ++this.#calls;
    return await new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, onAlive });
      // A process that ends meanwhile is heard of by its exit.
      this.#child.send({ id, operation, args } satisfies HelperCall, () => undefined);
    });
  }

  /** It may stay for as long as the kernel holds it in a call. */
  kill(): void {
    this.#killed = true;
    this.#child.kill("SIGKILL");
  }

  #hear(word: HelperWord): void {
    const waiting = this.#waiting.get(word.id);
    if (word.kind === "alive") {
      waiting?.onAlive();
      return;
    }
    this.#waiting.delete(word.id);
    if (word.kind === "done") waiting?.resolve(word.result);
    else waiting?.reject(uncarried(word.error));
  }

  #over(why: string): void {
    if (this.#gone) return;
    this.#gone = true;
    for (const { reject } of this.#waiting.values()) reject(lost(why));
    this.#waiting.clear();
    this.#onGone();
  }
}

const lost = (why: string): WakefulError => new WakefulError("unavailable", `A foreign path could not be looked at: ${why}.`);
