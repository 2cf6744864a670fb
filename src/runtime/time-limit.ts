import type { DurationMs } from "../domain/time.ts";

/** What {@link within} answers when the time was up first. */
export const tooLate = Symbol("too late");

/**
 * What the promise answers, or {@link tooLate} after `limitMs`. The promise itself goes on: the caller may still take a late answer.
 *
 * @param options.holds - The wait keeps the process alive, for one that is about to end and to say why. Default false.
 */
export async function within<T>(
  promise: Promise<T>,
  limitMs: DurationMs,
  { holds = false }: { readonly holds?: boolean | undefined } = {},
): Promise<T | typeof tooLate> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<typeof tooLate>((resolve) => {
    timer = setTimeout(() => resolve(tooLate), limitMs);
    if (!holds) timer.unref();
  });
  try {
    return await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}
