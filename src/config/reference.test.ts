import { expect, test } from "vitest";
import { configReference } from "./reference.ts";

const rows = configReference();

test("every setting has a variable, a type and a meaning, and no two share a variable", () => {
  expect(rows.length).toBeGreaterThan(40);
  for (const row of rows) {
    expect(row.env[0]).toMatch(/^WAKEFUL_[A-Z_]+$/);
    expect(row.type).not.toBe("");
    expect(row.meaning).toMatch(/\.$/);
  }
  const variables = rows.flatMap(({ env }) => env.map((name) => name.split(" ")[0]));
  expect(new Set(variables).size).toBe(variables.length);
});

test("a row says default, unit, bounds and the names of other systems", () => {
  expect(rows.find(({ key }) => key === "reaper.finalizeGraceMs")).toEqual({
    key: "reaper.finalizeGraceMs",
    env: ["WAKEFUL_REAPER_FINALIZE_GRACE_MS", "ORCH_REAPER_FINALIZE_GRACE_S (s)", "REAPER_FINALIZE_GRACE_S (s)"],
    type: "duration",
    default: "300000 (5m)",
    unit: "ms",
    bounds: "0s to 7d",
    meaning: expect.stringContaining("finalising"),
  });
});
