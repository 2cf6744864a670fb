import fc from "fast-check";
import { expect, test } from "vitest";
import { cutText } from "./cut-text.ts";
import { asciiText, brokenNameRule, isStorable, nameBytesMax, storable, storableJson, storableWords } from "./storable-text.ts";

const bytesOf = (text: string): number => Buffer.byteLength(text);

test("NUL and half surrogate pairs are replaced, everything else stays [F-8.1]", () => {
  expect(storable("a\0b")).toBe("a\ufffdb");
  expect(storable("\ud83d!\ude00 \ud83d\ude00")).toBe("\ufffd!\ufffd \u{1f600}");
  expect(isStorable("\u{1f600}\u0001\uffff")).toBe(true);
  expect([isStorable("\0"), isStorable("\ud800"), isStorable("\udc00 x")]).toEqual([false, false, false]);
});

test("what is made storable is well-formed, without NUL, within its bytes and otherwise as it was", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 400 }), fc.integer({ min: 40, max: 500 }), (text, bytesMax) => {
      const hostile = text + text.slice(0, 1);
      const words = storableWords(hostile, bytesMax);
      expect(isStorable(words)).toBe(true);
      expect(bytesOf(words)).toBeLessThanOrEqual(bytesMax);
      expect(Buffer.from(words, "utf8").toString("utf8")).toBe(words);
      if (isStorable(hostile) && bytesOf(hostile) <= bytesMax) expect(words).toBe(hostile);
    }),
  );
});

test("a cut goes by character and says how long the text was", () => {
  expect(storableWords(`${"x".repeat(79)}\u{1f600}${"y".repeat(40)}`, 100)).toBe(`${"x".repeat(79)}\u{1f600}yy... (123 bytes)`);
  expect(storableWords(`${"x".repeat(83)}\u{1f600}${"y".repeat(40)}`, 100)).toBe(`${"x".repeat(83)}... (127 bytes)`);
  expect([cutText("a\u{1f600}b", 2), cutText("a\u{1f600}b", 3), cutText("ab", 9)]).toEqual(["a", "a\u{1f600}", "ab"]);
});

test("JSON is never cut: what is too long is a note", () => {
  expect(storableJson('{"a":"\ud800"}')).toBe('{"a":"\ufffd"}');
  expect(storableJson(JSON.stringify("\u{1f600}".repeat(30)), 100)).toBe('"(122 bytes)"');
});

test("a name is refused, never cleaned", () => {
  expect([brokenNameRule("comics"), brokenNameRule("\u{1f600}".repeat(256))]).toEqual([undefined, undefined]);
  expect(brokenNameRule("a\0")).toContain("NUL");
  expect(brokenNameRule("x".repeat(nameBytesMax + 1))).toContain("1024 bytes");
});

test("a JSON text in ASCII has the same value", () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      const ascii = asciiText(text);
      expect(JSON.parse(ascii)).toEqual(JSON.parse(text));
      expect(ascii).toMatch(/^[\t\n\r -~]*$/);
    }),
  );
});
