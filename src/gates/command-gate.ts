import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { codeOf, messageOf } from "../domain/errors.ts";
import { isUnanswered } from "../files/foreign/path-operation.ts";
import { blameForStart } from "../liveness/start-blame.ts";
import { lookAtWorkDirectory } from "../processes/wrapper/wrapper.ts";
import { enterText } from "../processes/wrapper/wrapper-text.ts";
import { newClientId } from "../runtime/entropy.ts";
import { underStartedUmask } from "../runtime/umask.ts";
import { type GateAnswer, type GateSubject, green } from "./gate-answer.ts";
import { GateLogWriter } from "./gate-log.ts";
import { GateProcesses, gateMarkerVariable } from "./gate-processes.ts";

/** Most bytes of the gate's output that are kept as its reason. */
const reasonBytesMax = 2000;
/** How long what it wrote may be on its way to us when all of it is gone. */
const lastWordsMs = 1_000;
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
    const { cwd, access } = subject;
    // A share that hangs would keep the process of each reading: none is started while it does.
    if (access.isForeign(cwd)) await access.do(lookAtWorkDirectory, cwd, { paths: [cwd], signal });
    return await runCommand({ argv, file, args, subject, signal, log });
  } catch (thrown) {
    if (isUnanswered(thrown)) return { kind: "unreadable", error: messageOf(thrown), machine: true };
    throw thrown;
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
    const marker = newClientId();
    const env = { ...subject.env, [gateMarkerVariable]: marker };
    // A spawn waits until the child is in its folder and has become its program: on a share only a shell tries that. In a process group of
    // its own, so that everything the check started can be killed.
    let child: ChildProcessByStdio<null, Readable, Readable>;
    try {
      child = underStartedUmask(() =>
        spawn("/bin/sh", ["-c", enterText, "wakeful", subject.cwd, file, ...args], {
          cwd: "/",
          env,
          stdio: ["ignore", "pipe", "pipe"],
          detached: true,
        }),
      );
    } catch (thrown) {
      // Some errors of the kernel are thrown here, the usual ones are told by an event.
      resolve(notStarted(file, thrown));
      return;
    }
    const processes = child.pid === undefined ? undefined : new GateProcesses(child.pid, marker);
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
      processes?.kill();
      resolve(answer);
    };
    const onAbort = (): void => finish({ kind: "unreadable", error: interrupted });
    signal.addEventListener("abort", onAbort);
    listen(child.stdout);
    listen(child.stderr);
    child.on("error", (thrown) => finish(notStarted(file, thrown)));
    let late: NodeJS.Timeout | undefined;
    // The check is over when its command is. What it left running may hold its output for as long as it lives.
    child.on("exit", (code, killedBy) => {
      processes?.kill();
      late = setTimeout(() => decide(code, killedBy), lastWordsMs);
    });
    child.on("close", (code, killedBy) => decide(code, killedBy));
    const decide = (code: number | null, killedBy: NodeJS.Signals | null): void => {
      clearTimeout(late);
      for (const stream of [child.stdout, child.stderr]) stream.destroy();
      const text = output.text();
      if (code === 0) finish(green);
      else if (code !== null && code < 100) finish({ kind: "red", reason: text === "" ? `${argv.join(" ")} said no` : text });
      else
        finish({
          kind: "unreadable",
          error: `${argv.join(" ")} ended by ${killedBy ?? `exit code ${code}`}${text === "" ? "" : `: ${text}`}`,
        });
    };
    if (signal.aborted) onAbort();
  });
}

/** Its program is the gate's own matter; what the machine lacks is not. */
function notStarted(file: string, thrown: unknown): GateAnswer {
  const isMachine = blameForStart({ step: "program", code: codeOf(thrown), otherDevice: false }) === "machine";
  return { kind: "unreadable", error: `${file}: ${messageOf(thrown)}`, machine: isMachine ? true : undefined };
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
