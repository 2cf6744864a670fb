/**
 * `npm run mutants`: changes the pure rules of who lives, what a run's end spends and what becomes of its job, one place at a time, and says
 * which change no test notices. See docs/testing.md.
 */
export default {
  mutate: [
    "src/liveness/*.ts",
    "src/settling/*.ts",
    "src/store/runs/settle-plan.ts",
    "!src/**/*.test.ts",
    // Reads files and starts gate commands; what it decides by is the exit decider's.
    "!src/settling/finaliser.ts",
    // Puts the others together, and has no rule of its own.
    "!src/settling/settling.ts",
  ],
  testRunner: "vitest",
  plugins: ["@stryker-mutator/vitest-runner"],
  vitest: { configFile: "vitest.mutants.config.ts", related: false },
  coverageAnalysis: "perTest",
  // A constant's mutant needs all tests in a new process; the limits that constants stand for have tests by their numbers.
  ignoreStatic: true,
  // Most strings are members of a union, whose mutant the compiler refuses, and the others are sentences for people.
  mutator: { excludedMutations: ["StringLiteral"] },
  // No such file: Stryker would rewrite a tsconfig.json by the compiler's JavaScript API, which TypeScript 7 has not.
  tsconfigFile: "none.json",
  concurrency: 2,
  timeoutMS: 10_000,
  reporters: ["clear-text", "html", "progress-append-only"],
  clearTextReporter: { allowColor: false, logTests: false, reportTests: false, reportMutants: true },
  htmlReporter: { fileName: "node_modules/.cache/wakeful/mutants.html" },
  tempDirName: "node_modules/.cache/wakeful/mutants",
  // Every survivor is noticed by a test or explained beside its line.
  thresholds: { high: 100, low: 100, break: 100 },
};
