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
  /** Killed by a signal that we did not send, as far as the wrapper's status can tell. */
  | { readonly kind: "signal"; readonly code: number; readonly signal: number };

const firstSignalStatus = 129;
const lastSignalStatus = 159;

/** The signal that a wrapper's status stands for; `undefined`: none. A program may also exit with such a status. */
function signalOf(code: number): number | undefined {
  return code >= firstSignalStatus && code <= lastSignalStatus ? code - 128 : undefined;
}

/**
 * What an exit code means. 0 is success whatever the lists say; of several lists the strictest wins (hold, fail, retry). 129 to 159 is a
 * signal unless a list names it. Runs that we signalled never come here.
 */
export function meaningOfExit(code: number, policy: ExitCodeLists): ExitMeaning {
  if (code === 0) return { kind: "success" };
  if (policy.holdOn?.includes(code) === true) return { kind: "hold", code };
  if (policy.failOn?.includes(code) === true) return { kind: "fail", code };
  if (policy.retryOn?.includes(code) === true) return { kind: "retry", code };
  const signal = signalOf(code);
  return signal !== undefined ? { kind: "signal", code, signal } : { kind: "retry", code };
}

/** The code for people: "exit code 3", or "signal 9, or exit code 137". */
export function explainExitCode(code: number): string {
  const signal = signalOf(code);
  return signal === undefined ? `exit code ${code}` : `signal ${signal}, or exit code ${code}`;
}
