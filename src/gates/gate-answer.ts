import type { GateLog } from "./gate-log.ts";

/** What a gate says of a stage's result. An error is never green or red: only a definite answer moves anything. */
export type GateAnswer =
  | { readonly kind: "green" }
  | { readonly kind: "red"; readonly reason: string }
  | { readonly kind: "unreadable"; readonly error: string };

export const green: GateAnswer = { kind: "green" };

/** Where a gate looks, and on whose behalf. */
export interface GateSubject {
  /** Absolute path of the item's work directory. */
  readonly workDir: string;
  /** Working directory of command gates. */
  readonly cwd: string;
  /** Environment of command gates. */
  readonly env: Readonly<Record<string, string>>;
  /**
   * File time, in milliseconds, before which a result is an earlier run's. From a file of the same disk, so that one clock stamped both.
   * Undefined: not known, so a file whose age matters cannot be judged.
   */
  readonly notBeforeMs: number | undefined;
  /** Takes the whole output of command gates; absent: only the beginning is kept, as the reason. */
  readonly log?: GateLog;
}
