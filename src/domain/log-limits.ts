/** Size at which a run's output is cut, where its stage or task says nothing else: 64 MiB. */
export const logMaxBytesDefault = 64 * 2 ** 20;

/** Least size that may be asked for: below it the note of what was lost would be most of the log. */
export const logMaxBytesMin = 4096;
