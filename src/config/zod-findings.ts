import { z } from "zod";
import { nearestWord } from "./edit-distance.ts";
import type { Finding, KeyPath } from "./mistake.ts";

const typeNames: Readonly<Record<string, string>> = {
  object: "a map",
  record: "a map",
  array: "a list",
  string: "a text",
  boolean: "true or false",
  number: "a number",
  int: "a whole number",
};

/** Zod's issues in our words: one finding per wrong value and one per unknown key, with the nearest known key. */
export function findingsOfZod(error: z.ZodError, schema: z.ZodType, raw: unknown): Finding[] {
  return error.issues.flatMap((issue) => findingsOfIssue(issue, schema, raw));
}

function findingsOfIssue(issue: z.core.$ZodIssue, schema: z.ZodType, raw: unknown): Finding[] {
  const path = issue.path.map((step) => (typeof step === "number" ? step : String(step)));
  const value = valueAt(raw, path);
  switch (issue.code) {
    case "unrecognized_keys": {
      const known = keysAt(schema, path);
      return issue.keys.map((key) => {
        const hint = nearestWord(key, known);
        return {
          path: [...path, key],
          atKey: true,
          value: key,
          rule: `is not a key that is known here (${known.join(", ")})`,
          hint,
        };
      });
    }
    case "invalid_type": {
      if (!issue.message.startsWith("Invalid"))
        return [{ path, value, rule: value === undefined ? `is missing; it ${issue.message}` : issue.message }];
      const expected = typeNames[issue.expected] ?? issue.expected;
      return [{ path, value, rule: value === undefined ? `is missing; it must be ${expected}` : `must be ${expected}` }];
    }
    case "invalid_value":
      return [withHint({ path, value, rule: `must be one of ${issue.values.map(String).join(", ")}` }, issue.values.map(String))];
    case "invalid_key":
      return [{ path, atKey: true, value: path.at(-1), rule: issue.issues[0]?.message ?? issue.message }];
    case "custom": {
      const known: unknown = issue.params?.["known"];
      return [withHint({ path, value, rule: issue.message }, Array.isArray(known) ? known.map(String) : [])];
    }
    default:
      return [{ path, value, rule: issue.message }];
  }
}

function withHint(finding: Finding, known: readonly string[]): Finding {
  const hint = typeof finding.value === "string" ? nearestWord(finding.value, known) : undefined;
  return hint === undefined ? finding : { ...finding, hint };
}

/** The value at `path` in plain data, or `undefined` where there is none. */
export function valueAt(root: unknown, path: KeyPath): unknown {
  let value = root;
  for (const step of path) {
    if (value === null || typeof value !== "object" || !Object.hasOwn(value, step)) return undefined;
    value = (value as Readonly<Record<string | number, unknown>>)[step];
  }
  return value;
}

/** The object that a schema describes, inside its wrappers (preprocessing, optional, default, lazy). */
export function objectSchemaOf(schema: unknown): z.ZodObject | undefined {
  if (schema instanceof z.ZodObject) return schema;
  if (schema instanceof z.ZodPipe) return objectSchemaOf(schema.out) ?? objectSchemaOf(schema.in);
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault
  ) {
    return objectSchemaOf(schema.unwrap());
  }
  return schema instanceof z.ZodLazy ? objectSchemaOf(schema.unwrap()) : undefined;
}

/** The keys that a schema knows at `path`. */
function keysAt(schema: unknown, path: KeyPath): readonly string[] {
  const [step, ...rest] = path;
  if (step === undefined) return Object.keys(objectSchemaOf(schema)?.shape ?? {});
  return keysAt(memberOf(schema, step), rest);
}

function memberOf(schema: unknown, step: string | number): unknown {
  const object = objectSchemaOf(schema);
  if (object !== undefined) return Object.hasOwn(object.shape, step) ? object.shape[step as string] : undefined;
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) return memberOf(schema.unwrap(), step);
  if (schema instanceof z.ZodLazy) return memberOf(schema.unwrap(), step);
  if (schema instanceof z.ZodRecord) return schema.valueType;
  return schema instanceof z.ZodArray ? schema.element : undefined;
}
