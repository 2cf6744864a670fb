import fc from "fast-check";
import { expect, test } from "vitest";
import { labelOf, safeFileName } from "./file-name.ts";

test("labels show what cannot be printed, and keep what can", () => {
  expect(labelOf(Buffer.from("Über 1 [2].cbz"))).toBe("Über 1 [2].cbz");
  expect(labelOf(Buffer.from("a\nb\u001b[31m\u202etxt"))).toBe("a\\u{a}b\\u{1b}[31m\\u{202e}txt");
  expect(labelOf(Buffer.from([0x61, 0xff, 0xc3, 0xbc, 0xc3]))).toBe("a\\xffü\\xc3");
});

test("a safe name is one plain path component of bounded length, whatever the label", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 300 }), (label) => {
      const name = safeFileName(label);
      expect(name).toMatch(/^[^-./\\][^/\\\0\n]*$/);
      expect(Buffer.byteLength(name)).toBeGreaterThan(0);
      expect(Buffer.byteLength(name)).toBeLessThanOrEqual(200);
      expect(safeFileName(name)).toBe(name);
    }),
  );
});

test("a long name keeps its ending", () => {
  expect(safeFileName(`${"ü".repeat(200)}.cbz`)).toMatch(/^ü+\.cbz$/);
  expect(safeFileName("..")).toBe("_");
  expect(safeFileName("")).toBe("file");
});
