import { type ChildProcess, spawn } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";

export interface ChildOptions {
  readonly cwd: string;
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** Stops the program and everything it started; the call then rejects with the signal's reason. */
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

export interface ChildEnd {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** A cell stops its daemon and removes its folder first. */
const endWithinMs = 15_000;
const groupEndWithinMs = 5000;

/** Runs a program in a process group of its own: a Ctrl-C reaches it only as the SIGTERM sent here, once. */
export async function runChild(program: string, args: readonly string[], options: ChildOptions): Promise<ChildEnd> {
  options.signal.throwIfAborted();
  const child = spawn(program, args, { cwd: options.cwd, env: options.env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let err = "";
  child.stdout.on("data", (text: Buffer) => {
    out += text.toString();
  });
  child.stderr.on("data", (text: Buffer) => {
    err += text.toString();
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  let stop: (reason: unknown) => void = () => undefined;
  const stopped = new Promise<never>((_, reject) => {
    stop = reject;
  });
  const onAbort = (): void => stop(options.signal.reason);
  options.signal.addEventListener("abort", onAbort, { once: true });
  const limit = setTimeout(() => stop(new Error(`${program} did not end within ${options.timeoutMs / 1000} s`)), options.timeoutMs);
  try {
    const code = await Promise.race([ended, stopped]);
    if (code !== 0) await endGroup(child);
    return { code, out, err };
  } catch (thrown) {
    await endGroup(child);
    throw thrown;
  } finally {
    clearTimeout(limit);
    options.signal.removeEventListener("abort", onAbort);
  }
}

/** SIGINT for the processes that the child left: a server takes it as a fast but clean stop. */
async function endGroup(child: ChildProcess): Promise<void> {
  if (child.pid === undefined) return;
  child.kill("SIGTERM");
  await within(endWithinMs, () => child.exitCode !== null || child.signalCode !== null);
  for (const signal of ["SIGINT", "SIGKILL"] as const) {
    if (!signalGroup(child.pid, signal)) return;
    await within(groupEndWithinMs, () => !signalGroup(child.pid ?? 0, 0));
  }
}

function signalGroup(leader: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-leader, signal);
  } catch {
    // The group is empty.
    return false;
  }
}

async function within(ms: number, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + ms;
  while (!condition() && performance.now() < deadline) await pause(10);
}
