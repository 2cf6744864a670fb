import { dirname, join, normalize } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { checkedItemKey, itemDirectories } from "./item-key.ts";

test("whatever key is accepted, its directories lie directly below work/", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.string({ unit: "binary" }), fc.constantFrom("..", ".", "../..", "a/..", "a\\..", "~", "a~b")),
      (key) => {
        let accepted: string;
        try {
          accepted = checkedItemKey(key);
        } catch {
          // Refused, so nothing is made of it.
          return;
        }
        for (const dir of itemDirectories({ key: accepted, pipeline: "comics" })) {
          expect(dirname(normalize(join("/work", dir)))).toBe("/work");
          expect(dir).not.toMatch(/^[-.]/);
          expect(Buffer.byteLength(dir)).toBeLessThanOrEqual(255);
        }
      },
    ),
  );
});

test("200 bytes are a key, 201 are none", () => {
  expect(checkedItemKey("é".repeat(100))).toBe("é".repeat(100));
  expect(() => checkedItemKey(`${"é".repeat(100)}x`)).toThrow("longer than 200 bytes");
});
