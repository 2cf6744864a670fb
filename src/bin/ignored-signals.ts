/**
 * USR1 would open Node's debugger to every user of the machine, and USR2 would end the process: both do nothing, from the first moment on.
 */
const ignored = ["SIGUSR1", "SIGUSR2"] as const;

const seen = new Set<string>();
let tell: ((signal: string) => void) | undefined;

for (const signal of ignored) {
  process.on(signal, () => {
    if (seen.has(signal)) return;
    seen.add(signal);
    tell?.(signal);
  });
}

/** Calls `listener` at the first of each kind, also of those that came before this call. */
export function onIgnoredSignal(listener: (signal: string) => void): void {
  tell = listener;
  for (const signal of seen) listener(signal);
}
