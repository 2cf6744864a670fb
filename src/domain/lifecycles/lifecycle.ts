interface StateRow {
  readonly meaning: string;
  /** Nothing leaves a final state, but for a person's `retry` or `rerun`, which open something new. */
  readonly final?: true;
  /** Who moves a thing out of this state when its holder has died, so that no state is limbo. */
  readonly rescuer?: string;
}

interface TransitionRow<State extends string> {
  readonly from: readonly State[];
  readonly to: State;
  readonly verb: string;
  readonly when: string;
}

export interface Lifecycle<State extends string> {
  readonly noun: string;
  readonly initial: readonly State[];
  readonly states: Readonly<Record<State, StateRow>>;
  readonly transitions: readonly TransitionRow<State>[];
}

/** Whether only `retry` or `rerun` leaves `state`. */
export function isFinal<State extends string>(lifecycle: Lifecycle<State>, state: State): boolean {
  return lifecycle.states[state].final === true;
}

/** The states of a lifecycle, in the table's order. */
export function statesOf<State extends string>(lifecycle: Lifecycle<State>): readonly State[] {
  return Object.keys(lifecycle.states) as State[];
}

/** The states that `verb` may leave for `to`: what the guard of its UPDATE names. */
export function sourcesOf<State extends string>(lifecycle: Lifecycle<State>, verb: string, to: State): readonly State[] {
  return lifecycle.transitions.filter((row) => row.verb === verb && row.to === to).flatMap((row) => row.from);
}
