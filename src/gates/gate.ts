import type { GateDefinition } from "../pipelines/definition.ts";
import { readCommandGate } from "./command-gate.ts";
import { readFileGate } from "./file-gate.ts";
import { type GateAnswer, type GateSubject, green } from "./gate-answer.ts";

/**
 * Reads a gate and changes nothing. A stage without a gate is green (B-46). `all`, `any` and `not`: docs/pipelines.md, Gates.
 *
 * @param signal - at its abort commands are killed, nothing more is started, and the answer is unreadable. `GateTurns` sets the limit.
 */
export async function readGate(gate: GateDefinition | undefined, subject: GateSubject, signal: AbortSignal): Promise<GateAnswer> {
  if (gate === undefined) return green;
  if (signal.aborted) return { kind: "unreadable", error: "the reading was interrupted" };
  switch (gate.kind) {
    case "file":
      return readFileGate(gate, subject, signal);
    case "command":
      return readCommandGate(gate.argv, subject, signal);
    case "not": {
      const answer = await readGate(gate.gate, subject, signal);
      if (answer.kind === "green") return { kind: "red", reason: "the negated gate is green" };
      return answer.kind === "red" ? green : answer;
    }
    case "all":
      return readAll(gate.gates, subject, signal);
    case "any":
      return readAny(gate.gates, subject, signal);
  }
}

async function readAll(gates: readonly GateDefinition[], subject: GateSubject, signal: AbortSignal): Promise<GateAnswer> {
  let unreadable: GateAnswer | undefined;
  for (const gate of gates) {
    const answer = await readGate(gate, subject, signal);
    if (answer.kind === "red") return answer;
    if (answer.kind === "unreadable") unreadable ??= answer;
  }
  return unreadable ?? green;
}

async function readAny(gates: readonly GateDefinition[], subject: GateSubject, signal: AbortSignal): Promise<GateAnswer> {
  const reasons: string[] = [];
  let unreadable: GateAnswer | undefined;
  for (const gate of gates) {
    const answer = await readGate(gate, subject, signal);
    if (answer.kind === "green") return green;
    if (answer.kind === "red") reasons.push(answer.reason);
    else unreadable ??= answer;
  }
  return unreadable ?? { kind: "red", reason: reasons.join("; ") };
}

/** The files that its reading looks at, relative to the work directory. */
export function filesOf(gate: GateDefinition): readonly string[] {
  switch (gate.kind) {
    case "file":
      return [gate.path];
    case "command":
      return [];
    case "not":
      return filesOf(gate.gate);
    case "all":
    case "any":
      return gate.gates.flatMap(filesOf);
  }
}

/** Whether a disk that does not answer could block its reading. */
export const looksAtFiles = (gate: GateDefinition): boolean => filesOf(gate).length > 0;
