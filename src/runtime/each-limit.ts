/** Handles `members` in order, `count` at a time, until all are handled or `signal` is aborted. Rejects with the first rejection of `handle`. */
export async function eachLimit<T>(
  members: readonly T[],
  { count, signal }: { readonly count: number; readonly signal: AbortSignal },
  handle: (member: T) => Promise<void>,
): Promise<void> {
  const waiting = [...members];
  const handleWaiting = async (): Promise<void> => {
    for (let member = waiting.shift(); member !== undefined && !signal.aborted; member = waiting.shift()) await handle(member);
  };
  await Promise.all(Array.from({ length: Math.min(count, members.length) }, handleWaiting));
}
