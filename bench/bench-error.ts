/** What can be wrong with a request, or with what it asks to be built. */
export type BenchErrorCode =
  | "bad_option"
  | "unknown_bench"
  | "no_repository"
  | "unknown_revision"
  | "install_failed"
  | "build_failed"
  | "no_cell"
  | "cell_failed"
  | "interrupted";

/** An error of a known kind, printed without a stack. */
export class BenchError extends Error {
  override readonly name = "BenchError";
  readonly code: BenchErrorCode;

  constructor(code: BenchErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
