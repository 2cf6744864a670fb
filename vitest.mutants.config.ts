import { defineConfig } from "vitest/config";

/** The tests that a mutant has to pass: those beside the rules, of which none starts a process or a server. */
export default defineConfig({
  test: {
    include: ["src/liveness/**/*.test.ts", "src/settling/**/*.test.ts", "src/store/runs/**/*.test.ts"],
    exclude: ["src/settling/finaliser*.test.ts"],
    // The store loads its engine when it is opened. What a test loads, Stryker takes for something that the test covers.
    setupFiles: ["test/support/same-chance.ts", "src/store/sqlite/open.ts"],
    testTimeout: 30_000,
  },
});
