import { execFileSync } from "node:child_process";

/** Makes a named pipe: a gate at which a real process waits until the test writes to it. */
export function makeFifo(path: string): void {
  execFileSync("mkfifo", [path]);
}
