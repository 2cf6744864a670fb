/** The attempts of a job that names none. */
export const defaultMaxAttempts = 2;
/** The attempts of a stage that names none. */
export const defaultStageMaxAttempts = 3;

/** What the end of a run takes from the budget. */
export type Spend = "nothing" | "attempt" | "loss";
