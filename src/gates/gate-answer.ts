import type { PathAccess } from "../files/foreign/path-operation.ts";
import type { GateLog } from "./gate-log.ts";

/** A gate's answer about a stage's result. An error is never green or red: only a definite answer moves anything. */
export type GateAnswer = { readonly kind: "green" } | { readonly kind: "red"; readonly reason: string } | UnreadableGate;

export interface UnreadableGate {
  readonly kind: "unreadable";
  readonly error: string;
  /** This host lacks what the reading needs, such as a process or a secret: that spends no patience. */
  readonly machine?: true | undefined;
}

export const green: GateAnswer = { kind: "green" };

/** What a gate is read for: an item's work after one run. */
export interface GateSubject {
  /** Absolute path of the item's work directory. */
  readonly workDir: string;
  /** How files and folders of gates are reached. */
  readonly access: PathAccess;
  /** Working directory of command gates. */
  readonly cwd: string;
  /** Environment of command gates. */
  readonly env: Readonly<Record<string, string>>;
  /**
   * A file older than this, in milliseconds, is an earlier run's. The time comes from a file of the same disk, so that one clock stamped
   * both. Undefined: unknown, so a file whose age matters cannot be judged.
   */
  readonly notBeforeMs: number | undefined;
  /** Takes the whole output of command gates. Absent: only the reason is kept. */
  readonly log?: GateLog;
}
