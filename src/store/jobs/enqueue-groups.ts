import { defaultMaxAttempts } from "../../domain/budget.ts";
import { WakefulError } from "../../domain/errors.ts";
import type { EnqueueGroup } from "../port/jobs.ts";

/** Refuses what the tables would refuse, before it can spoil a group of others. */
export function checkEnqueueGroup(group: EnqueueGroup): void {
  const { priority = 0, maxAttempts = defaultMaxAttempts, maxLosses = 1, delayMs = 0 } = group;
  if (!Number.isInteger(priority) || priority < -32768 || priority > 32767) throw outOfBounds("priority", "-32768 to 32767", priority);
  if (!Number.isInteger(maxAttempts) || maxAttempts < 1) throw outOfBounds("maxAttempts", "at least 1", maxAttempts);
  if (!Number.isInteger(maxLosses) || maxLosses < 1) throw outOfBounds("maxLosses", "at least 1", maxLosses);
  if (!Number.isSafeInteger(delayMs) || delayMs < 0) throw outOfBounds("delayMs", "0 or more whole milliseconds", delayMs);
}

function outOfBounds(field: string, bounds: string, value: number): WakefulError {
  return new WakefulError("bad_request", `${field} must be ${bounds}; it is ${value}.`, { details: { field, value } });
}

/** Whether any of its jobs carries an id of its caller's. */
export const hasEnqueueIds = (group: EnqueueGroup): boolean => group.jobs.some((job) => job.enqueueId !== undefined);

/** Whether both go into one statement. A group with ids of its callers goes row by row, because a repeated id adds no row. */
export function haveOneForm(a: EnqueueGroup, b: EnqueueGroup): boolean {
  return (
    a.queue === b.queue &&
    a.priority === b.priority &&
    a.delayMs === b.delayMs &&
    a.maxAttempts === b.maxAttempts &&
    a.maxLosses === b.maxLosses &&
    a.agent === b.agent &&
    a.repo === b.repo &&
    hasEnqueueIds(a) === hasEnqueueIds(b)
  );
}
