import { isWakefulError } from "../../domain/errors.ts";

/**
 * What is done with files at a path that people configured, as one unit that can run in another process. Arguments and result are data:
 * text, numbers, buffers and plain objects of them.
 */
export interface PathOperation<Args, Result> {
  /** Unique among the operations of a release: who calls and who runs it are built together. */
  readonly name: string;
  /** @param alive - called after each step that went well, so that long work is not taken for a hung one. */
  readonly run: (args: Args, alive: () => void) => Promise<Result>;
}

/** An operation whose arguments are not known here. */
export type AnyPathOperation = PathOperation<never, unknown>;

/** Which paths a call touches, and how long somebody waits for it. */
export interface PathCall {
  /** Absolute. All that lie outside the data directory: a call with one that is left out could hang this process. */
  readonly paths: readonly (string | Buffer)[];
  /** At its abort the call is not waited for any more. */
  readonly signal?: AbortSignal | undefined;
}

/** How files at configured paths are reached. */
export interface PathAccess {
  /**
   * Runs an operation, away from this process where one of its paths is on a disk that may not answer.
   *
   * @throws {WakefulError} `path_unanswered`: it did not answer in time, or has not since an earlier call. Else what the operation throws,
   * with its code.
   */
  do<Args, Result>(operation: PathOperation<Args, Result>, args: Args, call: PathCall): Promise<Result>;
  /** Whether calls to the path may never return. Touches nothing that may not answer. */
  isForeign(path: string): boolean;
  /** Whether a call to any of the paths is to be expected back at once. */
  answers(paths: readonly string[]): boolean;
}

/** Whether a call was given up because its file system does not answer. */
export const isUnanswered = (thrown: unknown): boolean => isWakefulError(thrown) && thrown.code === "path_unanswered";

/** Everything in this process: for one that has no configured paths, and for tests. */
export const directAccess: PathAccess = {
  do: async (operation, args) => await operation.run(args, () => undefined),
  isForeign: () => false,
  answers: () => true,
};
