/** What the summary needs of Vitest's JSON report. */
export interface VitestReport {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message?: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly meta?: { readonly skips?: readonly string[] };
    }[];
  }[];
}

export interface Totals {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** One line per skipped test or part of a test, with its reason where one was given. */
  readonly skips: readonly string[];
  /** One line per failed test, or per file that could not be loaded. */
  readonly failures: readonly string[];
}

/** The step of `npm run verify` that is not a test, or the test run itself. */
export interface CheckOutcome {
  readonly name: string;
  readonly outcome: "passed" | "failed" | { readonly skippedBecause: string };
}

/** Adds up tests and checks. The test run counts as a check only if it failed without a failed test. */
export function totalsOf(report: VitestReport | undefined, checks: readonly CheckOutcome[]): Totals {
  let passed = 0;
  const skips: string[] = [];
  const failures: string[] = [];
  for (const { name, outcome } of checks) {
    if (outcome === "passed") passed += 1;
    else if (outcome === "failed") failures.push(name);
    else skips.push(`${name}: ${outcome.skippedBecause}`);
  }
  for (const file of report?.testResults ?? []) {
    // A file that throws while it is loaded has a failed status and no tests.
    if (file.status === "failed" && !file.assertionResults.some(({ status }) => status === "failed")) failures.push(file.name);
    for (const { fullName, status, meta } of file.assertionResults) {
      const reasons = meta?.skips ?? [];
      if (status === "passed") {
        passed += 1;
        skips.push(...reasons.map((reason) => `${fullName}: ${reason}`));
      } else if (status === "failed") {
        failures.push(fullName);
      } else {
        skips.push(reasons.length === 0 ? fullName : `${fullName}: ${reasons.join("; ")}`);
      }
    }
  }
  return { passed, failed: failures.length, skipped: skips.length, skips, failures };
}

/** The last line of a run, which other programs read. */
export const totalsLine = ({ passed, failed, skipped }: Totals): string => `${passed} passed, ${failed} failed, ${skipped} skipped`;
