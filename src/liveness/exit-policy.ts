/** What exit codes mean, as a stage declares it. A code in no list: 0 succeeds, any other is retried within the budget. */
export interface ExitCodeLists {
  readonly retryOn?: readonly number[] | undefined;
  readonly failOn?: readonly number[] | undefined;
  readonly holdOn?: readonly number[] | undefined;
}

export type ExitMeaning =
  | { readonly kind: "success" }
  | { readonly kind: "retry"; readonly code: number }
  | { readonly kind: "fail"; readonly code: number }
  | { readonly kind: "hold"; readonly code: number }
  /** Killed by a signal that we did not send, for certain or as far as the status can tell. */
  | { readonly kind: "signal"; readonly code: number; readonly signal: number };

/**
 * How a command with a status above 128 ended, as who waited for it knows: killed by a signal, or with a code of its own. Undefined: nobody
 * knows, as of a run of an earlier version.
 */
export type EndedBy = "signal" | "code" | undefined;

const signalBase = 128;
const lastSignal = 64;
/** Signals below the real-time ones, and those of them that end no process: CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH. */
const lastPlainSignal = 31;
const harmlessSignals: ReadonlySet<number> = new Set([17, 18, 19, 20, 21, 22, 23, 28]);

/** The signal that a status stands for; `undefined`: none. Where nobody knows how the command ended, a signal that kills is presumed. */
function signalOf(code: number, endedBy: EndedBy): number | undefined {
  const signal = code - signalBase;
  if (signal < 1 || signal > lastSignal || endedBy === "code") return undefined;
  return endedBy === "signal" || (signal <= lastPlainSignal && !harmlessSignals.has(signal)) ? signal : undefined;
}

/**
 * What an exit code means. 0 is success whatever the lists say; of several lists the strictest wins (hold, fail, retry). A signal is one
 * unless a list names its code. Runs that we signalled never come here.
 */
export function meaningOfExit(code: number, policy: ExitCodeLists, endedBy?: EndedBy): ExitMeaning {
  if (code === 0) return { kind: "success" };
  if (policy.holdOn?.includes(code) === true) return { kind: "hold", code };
  if (policy.failOn?.includes(code) === true) return { kind: "fail", code };
  if (policy.retryOn?.includes(code) === true) return { kind: "retry", code };
  const signal = signalOf(code, endedBy);
  return signal !== undefined ? { kind: "signal", code, signal } : { kind: "retry", code };
}

/** The code for people: "exit code 3", "signal 9" or, where nobody knows, "signal 9, or exit code 137". */
export function explainExitCode(code: number, endedBy?: EndedBy): string {
  const signal = signalOf(code, endedBy);
  if (signal === undefined) return `exit code ${code}`;
  return endedBy === "signal" ? `signal ${signal}` : `signal ${signal}, or exit code ${code}`;
}
