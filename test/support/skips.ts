import { expect, type TestContext, TestRunner } from "vitest";

declare module "vitest" {
  interface TaskMeta {
    /** Why this test, or a part of it, could not run. Read by the summary of `npm test`. */
    skips?: string[];
  }
}

/**
 * Notes that a part of the running test could not run, such as one of three shells. The summary counts it as skipped and prints the test's
 * name with the reason. Call it inside a test.
 */
export function skipped(reason: string): void {
  const current = TestRunner.getCurrentTest();
  expect(current, "skipped() was called outside a test").toBeDefined();
  if (current !== undefined) current.meta.skips = [...(current.meta.skips ?? []), reason];
}

/**
 * Ends the running test as skipped, with a reason that the summary prints:
 * `test("...", (context) => { if (!hasRedis) skipTest(context, "redis-server is not installed"); ... })`.
 */
export function skipTest(context: TestContext, reason: string): never {
  context.task.meta.skips = [...(context.task.meta.skips ?? []), reason];
  return context.skip(reason);
}
