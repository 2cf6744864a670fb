import { spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { hasCode, messageOf } from "../domain/errors.ts";
import { underStartedUmask } from "../runtime/umask.ts";
import { type GateAnswer, type GateSubject, green } from "./gate-answer.ts";
import { GateLogWriter } from "./gate-log.ts";

/** Most bytes of the gate's output that are kept as its reason. */
const reasonBytesMax = 2000;
const interrupted = "the reading was interrupted";

/**
 * Runs a read-only check. Its exit codes: docs/pipelines.md, Gates. The reason holds the first 2000 bytes of its output; the run's log gets
 * all, up to the stage's limit.
 *
 * @param signal - at its abort everything that the check has started is killed, and the answer is unreadable.
 */
export async function readCommandGate(argv: readonly string[], subject: GateSubject, signal: AbortSignal): Promise<GateAnswer> {
  const [file, ...args] = argv;
  if (file === undefined) return { kind: "unreadable", error: "the gate's command is empty" };
  const log = subject.log === undefined ? undefined : await GateLogWriter.open(subject.log, argv.join(" "));
  try {
    // The log's disk may have used up all the time: an abort that has already happened fires no event.
    if (signal.aborted) return { kind: "unreadable", error: interrupted };
    return await runCommand({ argv, file, args, subject, signal, log });
  } finally {
    await log?.close();
  }
}

function runCommand(options: {
  readonly argv: readonly string[];
  readonly file: string;
  readonly args: readonly string[];
  readonly subject: GateSubject;
  readonly signal: AbortSignal;
  readonly log: GateLogWriter | undefined;
}): Promise<GateAnswer> {
  const { argv, file, args, subject, signal, log } = options;
  return new Promise((resolve) => {
    // In a process group of its own, so that everything the check started can be killed at its limit.
    const child = underStartedUmask(() =>
      spawn(file, args, { cwd: subject.cwd, env: { ...subject.env }, stdio: ["ignore", "pipe", "pipe"], detached: true }),
    );
    const output = new OutputStart();
    let settled = false;
    const listen = (stream: Readable): void => {
      stream.on("data", (chunk: Buffer) => {
        output.add(chunk);
        if (log === undefined) return;
        // A command that writes faster than the disk is paused, so that its output does not fill our memory.
        stream.pause();
        void log.write(chunk).then(() => stream.resume());
      });
    };
    const finish = (answer: GateAnswer): void => {
      if (settled) return;
      settled = true;
      signal.removeEventListener("abort", onAbort);
      killGroup(child.pid);
      resolve(answer);
    };
    const onAbort = (): void => finish({ kind: "unreadable", error: interrupted });
    signal.addEventListener("abort", onAbort);
    listen(child.stdout);
    listen(child.stderr);
    child.on("error", (thrown) => finish({ kind: "unreadable", error: `${file}: ${messageOf(thrown)}` }));
    child.on("close", (code, killedBy) => {
      const text = output.text();
      if (code === 0) finish(green);
      else if (code !== null && code < 100) finish({ kind: "red", reason: text === "" ? `${argv.join(" ")} said no` : text });
      else
        finish({
          kind: "unreadable",
          error: `${argv.join(" ")} ended by ${killedBy ?? `exit code ${code}`}${text === "" ? "" : `: ${text}`}`,
        });
    });
    if (signal.aborted) onAbort();
  });
}

/** The first bytes of a command's output, of both streams, and how many there were in all. */
class OutputStart {
  readonly #chunks: Buffer[] = [];
  #keptBytes = 0;
  #bytes = 0;

  add(chunk: Buffer): void {
    const kept = chunk.subarray(0, reasonBytesMax - this.#keptBytes);
    if (kept.length > 0) this.#chunks.push(kept);
    this.#keptBytes += kept.length;
    this.#bytes += chunk.length;
  }

  text(): string {
    // As a stream that goes on: half a character at the cut is left out.
    const text = new TextDecoder().decode(Buffer.concat(this.#chunks), { stream: this.#bytes !== this.#keptBytes }).trim();
    return this.#bytes === this.#keptBytes ? text : `${text} [the first ${this.#keptBytes} of ${this.#bytes} bytes]`;
  }
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (thrown) {
    // Usual case: nothing of the group is left.
    if (!hasCode(thrown, "ESRCH")) throw thrown;
  }
}
