import type { Finding, KeyPath } from "../../config/mistake.ts";

const depthMax = 64;
const valuesMax = 50_000;

/** What keeps `value` from being data that JSON can hold: functions, classes, cycles, forbidden keys, depth and size without bounds. */
export function plainDataFindings(value: unknown, path: KeyPath): readonly Finding[] {
  const findings: Finding[] = [];
  const open = new Set<object>();
  let values = 0;
  const visit = (member: unknown, at: KeyPath): void => {
    values += 1;
    if (values > valuesMax) return;
    const rule = ruleBrokenBy(member, at.length - path.length, open);
    if (rule !== undefined) {
      findings.push({ path: at, value: typeof member === "object" ? undefined : member, rule });
      return;
    }
    if (member === null || typeof member !== "object") return;
    open.add(member);
    for (const [key, below] of Object.entries(member)) {
      const here = [...at, Array.isArray(member) ? Number(key) : key];
      if (key === "__proto__") findings.push({ path: here, atKey: true, value: key, rule: "may not be used as a key" });
      else visit(below, here);
    }
    open.delete(member);
  };
  visit(value, path);
  if (values > valuesMax) findings.push({ path, value: undefined, rule: `has more than ${valuesMax} values` });
  return findings;
}

function ruleBrokenBy(member: unknown, depth: number, open: ReadonlySet<object>): string | undefined {
  switch (typeof member) {
    case "string":
    case "boolean":
    case "undefined":
      return undefined;
    case "number":
      return Number.isFinite(member) ? undefined : "must be a finite number";
    case "object": {
      if (member === null) return undefined;
      if (open.has(member)) return "holds itself";
      if (depth > depthMax) return `is nested deeper than ${depthMax} levels`;
      const prototype: unknown = Object.getPrototypeOf(member);
      const isPlain = Array.isArray(member) || prototype === null || prototype === Object.prototype;
      return isPlain ? undefined : "must be plain data: maps, lists, texts, numbers, true, false or null";
    }
    default:
      return `must be plain data, not a ${typeof member}`;
  }
}
