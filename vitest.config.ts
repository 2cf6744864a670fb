import { defineConfig } from "vitest/config";

/** Ends what hangs, and judges nothing that works: tests wait for events, within the bound of test/support/until.ts. */
const limitMs = 600_000;
const everywhere = { testTimeout: limitMs, hookTimeout: limitMs, setupFiles: ["test/support/guarded-kill.ts"] };

export default defineConfig({
  test: {
    // Real processes, so that a test that kills, suspends or exhausts its own process hurts no other file.
    pool: "forks",
    // Tests start processes and servers of their own; more files at a time only make all of them slow.
    maxWorkers: 2,
    // Runs once, whatever projects take part; starts nothing until a test asks for a database.
    globalSetup: ["test/support/postgres-setup.ts"],
    projects: [
      {
        test: {
          name: "unit",
          include: ["src/**/*.test.ts", "examples/**/*.test.ts", "scripts/**/*.test.ts", "bench/**/*.test.ts", "test/support/**/*.test.ts"],
          exclude: ["**/node_modules/**"],
          ...everywhere,
        },
      },
      { test: { name: "conformance", include: ["test/conformance/**/*.test.ts"], ...everywhere } },
      { test: { name: "integration", include: ["test/integration/**/*.test.ts"], ...everywhere } },
      { test: { name: "simulation", include: ["test/simulation/**/*.test.ts"], ...everywhere } },
    ],
  },
});
