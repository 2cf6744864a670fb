/**
 * The names of a stage in programs that know stages by convention: `NOM_RUNNING`, `nom.heartbeat`, `NOM_TIMEOUT`. They derive from the
 * stage's name, so that no stage can be forgotten by a check.
 */
export interface CompatibleStageNames {
  /** The stage while a run of it is in flight: `PREP_RUNNING`. */
  readonly running: string;
  /** The stage while it waits to be run again: `PREP_RETRY`. */
  readonly retry: string;
  /** What the stored state shows after a run was judged hung: `PREP_TIMEOUT`. */
  readonly timeout: string;
  /** The stage once it has passed: `PREP_DONE`. */
  readonly done: string;
  /** What is shown when the budget is spent, or the job is held: `ERROR_PREP`. */
  readonly error: string;
  /** File name of the compatible heartbeat inside the item's work directory: `prep.heartbeat`. */
  readonly heartbeatFile: string;
  /** Environment variable that sets the stage's attempts: `MAX_ATTEMPTS_PREP`. */
  readonly attemptsVariable: string;
  /** Environment variable that sets how many runs of the stage go at once: `PREP_CONCURRENCY`. */
  readonly concurrencyVariable: string;
}

/**
 * The names of the stage called `stage`. Stages whose names differ only in case, or in `-` and `_`, share them, which validation refuses.
 */
export function compatibleStageNames(stage: string): CompatibleStageNames {
  const upper = stage.toUpperCase().replaceAll("-", "_");
  return {
    running: `${upper}_RUNNING`,
    retry: `${upper}_RETRY`,
    timeout: `${upper}_TIMEOUT`,
    done: `${upper}_DONE`,
    error: `ERROR_${upper}`,
    heartbeatFile: `${stage.toLowerCase()}.heartbeat`,
    attemptsVariable: `MAX_ATTEMPTS_${upper}`,
    concurrencyVariable: `${upper}_CONCURRENCY`,
  };
}
