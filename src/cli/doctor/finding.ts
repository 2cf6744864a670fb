/** What one check found. */
export interface Finding {
  readonly check: string;
  /** `problem`: something does not work, or will not when it is needed. `warning`: it works, but not as one might think. */
  readonly level: "ok" | "warning" | "problem";
  readonly text: string;
  /** What to do about it; absent when all is well. */
  readonly remedy?: string;
}

export const ok = (check: string, text: string): Finding => ({ check, level: "ok", text });
export const warning = (check: string, text: string, remedy: string): Finding => ({ check, level: "warning", text, remedy });
export const problem = (check: string, text: string, remedy: string): Finding => ({ check, level: "problem", text, remedy });
