import { spawn } from "node:child_process";
import { messageOf } from "../domain/errors.ts";
import { type GateAnswer, type GateSubject, green } from "./gate-answer.ts";

/** Most characters of the gate's output that are kept as its reason. */
const reasonChars = 2000;

/**
 * Runs a read-only check. Exit 0 is green, 1 to 99 red with its output as the reason; any other end (100 and above, a signal, the time limit,
 * a command that cannot be started) is unreadable, because it says nothing of the result.
 */
export function readCommandGate(argv: readonly string[], subject: GateSubject, signal: AbortSignal): Promise<GateAnswer> {
  const [file, ...args] = argv;
  if (file === undefined) return Promise.resolve({ kind: "unreadable", error: "the gate's command is empty" });
  return new Promise((resolve) => {
    // A group of its own, so that the time limit ends whatever the check has started.
    const child = spawn(file, args, { cwd: subject.cwd, env: { ...subject.env }, stdio: ["ignore", "pipe", "pipe"], detached: true });
    let said = "";
    let settled = false;
    const keep = (chunk: Buffer): void => {
      if (said.length < reasonChars) said += chunk.toString("utf8").slice(0, reasonChars - said.length);
    };
    const finish = (answer: GateAnswer): void => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      killGroup(child.pid);
      resolve(answer);
    };
    const onAbort = (): void => finish({ kind: "unreadable", error: "the reading was interrupted" });
    const timer = setTimeout(() => finish({ kind: "unreadable", error: `no answer within ${subject.timeoutMs} ms` }), subject.timeoutMs);
    signal.addEventListener("abort", onAbort);
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.on("error", (thrown) => finish({ kind: "unreadable", error: `${file}: ${messageOf(thrown)}` }));
    child.on("close", (code, killedBy) => {
      const text = said.trim();
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

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (thrown) {
    // Nothing of the group is left, which is the usual case.
    if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ESRCH")) throw thrown;
  }
}
