import { expect, test } from "vitest";
import { totalsLine, totalsOf } from "./test-totals.ts";

const file = (status: string, ...assertionResults: { fullName: string; status: string; meta?: { skips?: string[] } }[]) => ({
  testResults: [{ name: "a.test.ts", status, assertionResults }],
});

test("tests and checks are added up", () => {
  const report = file("passed", { fullName: "one", status: "passed" }, { fullName: "two", status: "passed" });
  expect(totalsLine(totalsOf(report, [{ name: "types", outcome: "passed" }]))).toBe("3 passed, 0 failed, 0 skipped");
});

test("a failed test or check fails the run and is named [A-27]", () => {
  const totals = totalsOf(file("failed", { fullName: "one", status: "failed" }), [{ name: "lint", outcome: "failed" }]);
  expect(totals).toMatchObject({ failed: 2, failures: ["lint", "one"] });
});

test("a file that cannot be loaded counts as a failure although it has no test", () => {
  expect(totalsOf(file("failed"), [])).toMatchObject({ passed: 0, failed: 1, failures: ["a.test.ts"] });
});

test("what was skipped is counted and named with its reason, also a part of a test that passed", () => {
  const totals = totalsOf(
    file(
      "passed",
      { fullName: "three shells", status: "passed", meta: { skips: ["busybox is not installed"] } },
      { fullName: "redis", status: "skipped", meta: { skips: ["no server"] } },
      { fullName: "later", status: "todo" },
    ),
    [{ name: "package", outcome: { skippedBecause: "build failed" } }],
  );
  expect(totals.skips).toEqual(["package: build failed", "three shells: busybox is not installed", "redis: no server", "later"]);
  expect(totalsLine(totals)).toBe("1 passed, 0 failed, 4 skipped");
});
