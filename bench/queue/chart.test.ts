import { expect, test } from "vitest";
import { barChart, grouped } from "./chart.ts";

const svg = barChart({
  title: "Jobs a second",
  notes: ['2 cores, "fast" disk', "2026-11-30"],
  groups: [
    { title: "SQLite", bars: [{ label: "ours <500 & more>", value: 40_000, ours: true }] },
    {
      title: "PostgreSQL",
      bars: [
        { label: "peer", value: 10_000, ours: false },
        { label: "slow peer", value: 0.5, ours: false },
      ],
    },
  ],
});

test("bars stand in proportion on one scale, the longest over the whole width, the shortest still to be seen", () => {
  const lengths = [...svg.matchAll(/<rect class="(ours|peer)"[^>]* width="(\d+)"/g)].map(([, kind, length]) => [kind, Number(length)]);
  expect(lengths).toEqual([
    ["ours", 470],
    ["peer", 118],
    ["peer", 1],
  ]);
});

test("every bar has its label and its value, every note is shown, and marks of XML are escaped", () => {
  for (const content of ["ours &lt;500 &amp; more>", ">40,000<", ">10,000<", ">0.5<", "2 cores, &quot;fast&quot; disk", "2026-11-30"])
    expect(svg).toContain(content);
  expect(svg).not.toMatch(/<500/);
});

test("nothing lies outside of the picture, which has colours for a dark page", () => {
  const height = Number(/viewBox="0 0 860 (\d+)"/.exec(svg)?.[1]);
  for (const [, y] of svg.matchAll(/ y="(\d+)"/g)) expect(Number(y)).toBeLessThan(height);
  expect(svg).toContain("prefers-color-scheme: dark");
});

test("thousands are grouped", () => {
  expect([0.46, 9.96, 12.4, 999.6, 12_345.6, 1_234_567].map(grouped)).toEqual(["0.5", "10.0", "12", "1,000", "12,346", "1,234,567"]);
});
