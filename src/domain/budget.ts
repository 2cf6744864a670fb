/** What a visit (or a plain task's job) may still spend. Attempts count at start, so a crash cannot give one back by itself. */
export interface Budget {
  readonly attempts: number;
  /** At least 1. Stages default to 3, a job without a number to 2. */
  readonly maxAttempts: number;
  readonly losses: number;
  /** `null`: a loss spends an attempt like any other failure. */
  readonly maxLosses: number | null;
}

/** The attempts of a job that names none. */
export const defaultMaxAttempts = 2;
/** The attempts of a stage that names none. */
export const defaultStageMaxAttempts = 3;

/** What the end of a run takes from the budget. */
export type Spend = "nothing" | "attempt" | "loss";

/** The budget after a run that was started has ended: the attempt counted at its start stays, becomes a loss, or is given back. */
export function afterSpending(budget: Budget, spend: Spend): Budget {
  switch (spend) {
    case "attempt":
      return budget;
    case "loss":
      return {
        ...budget,
        attempts: budget.attempts - 1,
        losses: budget.losses + 1,
      };
    case "nothing":
      return { ...budget, attempts: budget.attempts - 1 };
  }
}

export function hasAttemptLeft(budget: Budget): boolean {
  return budget.attempts < budget.maxAttempts;
}

export function hasLossLeft(budget: Budget): boolean {
  return budget.maxLosses === null || budget.losses < budget.maxLosses;
}
