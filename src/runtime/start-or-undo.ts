/** Takes back one step of a start; may fail. */
export type UndoStep = () => unknown;

/** What has begun so far, in the order of its beginning. */
export interface Undo {
  push(step: UndoStep): void;
}

/**
 * Starts something of several parts. Where that fails half-way, what has begun is taken back, the newest first, and the first failure is
 * thrown: what cannot be taken back ends with the process.
 */
export async function startOrUndo<T>(start: (undo: Undo) => Promise<T>): Promise<T> {
  const steps: UndoStep[] = [];
  try {
    return await start({ push: (step) => void steps.push(step) });
  } catch (thrown) {
    for (const step of steps.toReversed()) await attempt(step);
    throw thrown;
  }
}

async function attempt(step: UndoStep): Promise<void> {
  try {
    await step();
  } catch {
    // The failure of the start is the one to tell.
  }
}
