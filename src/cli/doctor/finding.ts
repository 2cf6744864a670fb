/** What one check found. */
export interface DoctorFinding {
  readonly check: string;
  /** `problem`: something does not work, or will not when it is needed. `warning`: it works, but not as one might think. */
  readonly level: "ok" | "warning" | "problem";
  readonly text: string;
  /** What to do about it; absent when all is well. */
  readonly remedy?: string;
}

export const ok = (check: string, text: string): DoctorFinding => ({ check, level: "ok", text });
export const warning = (check: string, text: string, remedy: string): DoctorFinding => ({ check, level: "warning", text, remedy });
export const problem = (check: string, text: string, remedy: string): DoctorFinding => ({ check, level: "problem", text, remedy });
