import { defineConfig } from "vitest/config";

const seconds = (n: number): number => n * 1000;

/** Time for one test; hooks get the same, since they start servers. */
const limit = (n: number) => ({ testTimeout: seconds(n), hookTimeout: seconds(Math.max(n, 30)) });

export default defineConfig({
  test: {
    // Real processes, so that a test that kills, suspends or exhausts its own process hurts no other file.
    pool: "forks",
    // Tests start processes and servers of their own; more files at a time only make their deadlines meaningless.
    maxWorkers: 2,
    // Runs once, whatever projects take part; starts nothing until a test asks for a database.
    globalSetup: ["test/support/postgres-setup.ts"],
    projects: [
      {
        test: {
          name: "unit",
          include: ["src/**/*.test.ts", "examples/**/*.test.ts", "scripts/**/*.test.ts", "bench/**/*.test.ts", "test/support/**/*.test.ts"],
          exclude: ["**/node_modules/**"],
          ...limit(10),
        },
      },
      { test: { name: "conformance", include: ["test/conformance/**/*.test.ts"], ...limit(30) } },
      { test: { name: "integration", include: ["test/integration/**/*.test.ts"], ...limit(60) } },
      { test: { name: "simulation", include: ["test/simulation/**/*.test.ts"], ...limit(120) } },
    ],
  },
});
