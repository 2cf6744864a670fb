import { spawn } from "node:child_process";
import { fstatSync } from "node:fs";
import { hasCode } from "../domain/errors.ts";
import { environment } from "../runtime/environment.ts";
import { Outlet, type OutletTarget } from "../runtime/outlet.ts";

/** How long the end of a program that serves others waits for whoever reads its last words. */
const lastWordsMs = 1_000;

/** Where the process's own texts go. */
export interface ProcessOutput {
  out(text: string): void;
  err(text: string): void;
  /** Calls `tell` when texts to standard output are written again after some were dropped. */
  onDropped(tell: (texts: number) => void): void;
  /** Resolves when the readers have it all, or none is left. Never rejects. */
  finish(): Promise<void>;
}

/** Of a program that others rely on: no write waits for a reader, and no reader's end is its own. */
export function patientOutput(mono: () => number): ProcessOutput {
  const [out, err] = [standardOutlet(1, mono), standardOutlet(2, mono)];
  return {
    out: (text) => out.write(text),
    err: (text) => err.write(text),
    onDropped: (tell) => out.onDropped(tell),
    finish: async () => {
      await Promise.all([out.end(lastWordsMs), err.end(lastWordsMs)]);
    },
  };
}

/** Of a command that ends with its answer: it keeps all that is not read yet, and ends when nobody reads (`wakeful ls | head`). */
export function plainOutput(): ProcessOutput {
  process.stdout.on("error", (error) => {
    if (!hasCode(error, "EPIPE")) throw error;
    process.exit(0);
  });
  // Nobody reads what went wrong; the exit code tells it.
  process.stderr.on("error", () => undefined);
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    onDropped: () => undefined,
    finish: async () => {
      await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
    },
  };
}

function standardOutlet(fd: 1 | 2, mono: () => number): Outlet {
  return new Outlet({ open: () => (isPipe(fd) ? ownStream(fd) : (helper(fd) ?? ownStream(fd))), mono });
}

/** Pipes and sockets are written without waiting. A terminal that is held (Ctrl-S), and a file on a dead share, would stop the process. */
function isPipe(fd: number): boolean {
  const stat = fstatSync(fd);
  return stat.isFIFO() || stat.isSocket();
}

function ownStream(fd: 1 | 2): OutletTarget {
  const stream = fd === 1 ? process.stdout : process.stderr;
  return { stream, finish: () => flushed(stream) };
}

const flushed = (stream: NodeJS.WriteStream): Promise<void> => new Promise((resolve) => stream.write("", () => resolve()));

/** What passes texts on: it outlives the signals that stop us, so that the last lines arrive, and ends at the end of its input. */
const passOn = "trap '' HUP INT QUIT TERM; exec cat";

/** A process that waits for the reader in our place. Undefined: none can be started. */
function helper(fd: 1 | 2): OutletTarget | undefined {
  // In a session of its own Ctrl-C does not reach it, and it may write to our terminal all the same.
  const child = spawn("/bin/sh", ["-c", passOn], { stdio: ["pipe", fd, "ignore"], detached: true, env: { PATH: environment()["PATH"] } });
  const { stdin: stream } = child;
  child.on("error", () => stream?.destroy());
  if (child.pid === undefined || stream === null) return undefined;
  const passedOn = new Promise<void>((resolve) =>
    child.once("exit", () => {
      stream.destroy();
      resolve();
    }),
  );
  return {
    stream,
    finish: async () => {
      stream.end();
      await passedOn;
    },
  };
}
