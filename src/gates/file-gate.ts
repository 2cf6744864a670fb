import { constants } from "node:fs";
import { lstat, open, realpath } from "node:fs/promises";
import { resolve, sep } from "node:path";
import { hasCode, messageOf } from "../domain/errors.ts";
import { isUnanswered, type PathOperation } from "../files/foreign/path-operation.ts";
import type { FileGateDefinition } from "../pipelines/definition.ts";
import { type GateAnswer, type GateSubject, green } from "./gate-answer.ts";

/**
 * Green when the file is regular, inside the work directory, of this run, large enough and begins as declared. Reads only its first bytes.
 */
export async function readFileGate(gate: FileGateDefinition, subject: GateSubject, signal: AbortSignal): Promise<GateAnswer> {
  const path = resolve(subject.workDir, gate.path);
  const { workDir, notBeforeMs, access } = subject;
  if (!path.startsWith(workDir + sep)) return { kind: "red", reason: `${gate.path} is outside the work directory` };
  try {
    // A link inside may lead to a share.
    return await access.do(readGateFile, { gate, subject: { workDir, notBeforeMs } }, { paths: [path], signal });
  } catch (thrown) {
    return { kind: "unreadable", error: messageOf(thrown), machine: isUnanswered(thrown) ? true : undefined };
  }
}

interface GateFile {
  readonly gate: FileGateDefinition;
  readonly subject: Pick<GateSubject, "workDir" | "notBeforeMs">;
}

export const readGateFile: PathOperation<GateFile, GateAnswer> = {
  name: "read-gate-file",
  run: async ({ gate, subject }) => await readGateFileOf(gate, subject),
};

async function readGateFileOf(gate: FileGateDefinition, subject: GateFile["subject"]): Promise<GateAnswer> {
  const path = resolve(subject.workDir, gate.path);
  try {
    const stat = await lstat(path);
    // A link could point anywhere, and would be green for a file that this stage did not make.
    if (!stat.isFile()) return { kind: "red", reason: `${gate.path} is not a regular file` };
    if (!(await realpath(path)).startsWith((await realpath(subject.workDir)) + sep)) {
      return { kind: "red", reason: `${gate.path} leads out of the work directory` };
    }
    if (!gate.anyAge && subject.notBeforeMs === undefined)
      return { kind: "unreadable", error: `whether ${gate.path} is of this run cannot be told: nothing says when the run began` };
    if (!gate.anyAge && stat.ctimeMs < (subject.notBeforeMs ?? 0)) return { kind: "red", reason: `${gate.path} is older than this run` };
    if (gate.minBytes !== undefined && stat.size < gate.minBytes) {
      return { kind: "red", reason: `${gate.path} has ${stat.size} bytes, at least ${gate.minBytes} are needed` };
    }
    if (gate.startsWith !== undefined && !(await beginsWith(path, gate.startsWith))) {
      return { kind: "red", reason: `${gate.path} does not begin with ${JSON.stringify(gate.startsWith)}` };
    }
    const { signature } = gate;
    if (signature !== undefined) {
      const begins = await firstBytes(path, Math.max(...signature.map((hex) => hex.length / 2)));
      if (!signature.some((hex) => begins.startsWith(hex))) {
        const found = begins === "" ? "is empty" : `begins with ${begins}`;
        return { kind: "red", reason: `${gate.path} ${found}, and ${signature.join(" or ")} is needed` };
      }
    }
    return green;
  } catch (thrown) {
    if (isMissing(thrown)) return { kind: "red", reason: `${gate.path} does not exist` };
    return { kind: "unreadable", error: messageOf(thrown) };
  }
}

async function beginsWith(path: string, text: string): Promise<boolean> {
  const expected = Buffer.from(text, "utf8");
  return (await firstBytes(path, expected.length)) === expected.toString("hex");
}

/** In hexadecimal; fewer than `count` where the file is shorter. */
async function firstBytes(path: string, count: number): Promise<string> {
  // Without O_NONBLOCK, a FIFO put here since the lstat would block the read for ever.
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(count), 0, count, 0);
    return buffer.toString("hex", 0, bytesRead);
  } finally {
    await file.close();
  }
}

function isMissing(thrown: unknown): boolean {
  return hasCode(thrown, "ENOENT", "ENOTDIR");
}
