import { setTimeout as pause } from "node:timers/promises";
import { inspect } from "node:util";

/** Far longer than any event takes on a busy machine: it ends a test that waits for what never comes. */
const boundMs = 120_000;

export interface UntilOptions {
  /** For the test of this file. All others wait within the one bound. */
  readonly timeoutMs?: number;
  /** Pause between two looks in milliseconds. @defaultValue 20 */
  readonly everyMs?: number;
  /** What is waited for, for the failure's text: "the run to end". */
  readonly what?: string;
}

/**
 * Polls a real process or service until `condition` answers something truthy, and resolves to that; a throw counts as "not yet". The one
 * place of the tests that waits for time to pass: prefer an event or an injected clock.
 *
 * @throws Error at the deadline, with what was awaited, the last answer and, as `cause`, the last thing thrown.
 */
export async function until<T>(condition: () => T | Promise<T>, options: UntilOptions = {}): Promise<NonNullable<T>> {
  const { timeoutMs = boundMs, everyMs = 20, what = condition.toString() } = options;
  const deadline = performance.now() + timeoutMs;
  let looks = 0;
  for (;;) {
    looks += 1;
    let answer: T | undefined;
    let thrown: unknown;
    try {
      answer = await condition();
      if (answer !== undefined && answer !== null && answer !== false) return answer;
    } catch (error) {
      thrown = error;
    }
    // The deadline is checked after the condition, so that a condition met in the last moment is never missed.
    if (performance.now() >= deadline) {
      const last = thrown === undefined ? `last answer: ${inspect(answer)}` : `last error: ${inspect(thrown, { depth: 1 })}`;
      throw new Error(`waited ${timeoutMs} ms (${looks} looks) for ${what}; ${last}`, { cause: thrown });
    }
    await pause(Math.min(everyMs, Math.max(1, deadline - performance.now())));
  }
}
