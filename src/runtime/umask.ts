/**
 * The umask is the process's own, and there is one. Ours are kept private; what people and their programs make keeps the umask that this
 * process was started with.
 */
const privateUmask = 0o077;

let started: number | undefined;

/** From now on files that this process makes are its user's alone. */
export function keepOwnFilesPrivate(): void {
  started ??= process.umask(privateUmask);
}

/** The umask that this process was started with. Undefined: it was never changed. */
export const startedUmask = (): number | undefined => started;

/** Starts a program with that umask: Node has no option for it. Nothing of ours runs meanwhile, so `start` must be synchronous. */
export function underStartedUmask<T>(start: () => T): T {
  if (started === undefined) return start();
  process.umask(started);
  try {
    return start();
  } finally {
    process.umask(privateUmask);
  }
}

/** The mode of something that people share, made as if this process had kept its umask. Undefined: it has. */
export const modeForPeople = (mode: 0o666 | 0o777): number | undefined => (started === undefined ? undefined : mode & ~started);
