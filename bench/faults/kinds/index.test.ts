import { expect, test } from "vitest";
import { setUps } from "../set-up.ts";
import { kindsFor } from "./index.ts";

test("each kind has a name of its own, and acts on something", () => {
  for (const setUp of setUps) {
    const kinds = kindsFor(setUp, true);
    expect(new Set(kinds.map(({ name }) => name)).size).toBe(kinds.length);
    for (const { hits, lastsMs } of kinds) {
      expect(hits).not.toEqual([]);
      expect(lastsMs[0]).toBeLessThanOrEqual(lastsMs[1]);
    }
  }
});

test("what is not held yet is drawn only when it is asked for, and faults of a server only where there is one", () => {
  for (const setUp of setUps) {
    const held = kindsFor(setUp, false).map(({ name }) => name);
    expect(
      kindsFor(setUp, true)
        .slice(0, held.length)
        .map(({ name }) => name),
    ).toEqual(held);
    expect(held.includes("kill-server")).toBe(setUp !== "sqlite");
  }
});
