import { expect, test } from "vitest";
import { mistakeOf } from "./mistake.ts";
import { parsePostgresUrl, withoutPassword } from "./postgres-url.ts";
import { configSchema } from "./schema.ts";

test.each([
  "postgres://h/db",
  "postgresql://u:p@h:5432/db?schema=other",
  "postgres:///db",
  "postgres://u:p%40w@[::1]:5432/db?sslmode=require",
])("%s is a store", (url) => {
  expect(parsePostgresUrl(url).ok).toBe(true);
  expect(configSchema.safeParse({ store: url }).success).toBe(true);
});

test("the schema is ours; the driver does not see it, and the name shows no password", () => {
  expect(parsePostgresUrl("postgres://u:hunter2@h/db?schema=other&sslmode=require")).toEqual({
    ok: true,
    value: { connectionString: "postgres://u:hunter2@h/db?sslmode=require", schema: "other", name: "postgres://u@h/db" },
  });
});

test.each([
  ["postgres://u:hunter2@h:99999/db", "is no URL of a database"],
  ["postgres://u:hunter2 w@[::/db", "is no URL of a database"],
  ["postgres://u:hunter2/w@h/db", "is no URL of a database"],
  ["postgres://u:hunter2%zz@h/db", "begins no escape"],
  ["postgres://u:hunter2@h/%db%", "begins no escape"],
  ["postgres://u:hunter2@h/db?schema=Bad-Name", 'the schema "Bad-Name"'],
  ["postgres://u:hunter2@h/db?schema=pg_ours", 'the schema "pg_ours"'],
  ["postgres://u:hunter2@h/db?schema=", 'the schema ""'],
])("%s is refused by the setting's rule, and its password is in no text", (url, rule) => {
  const refused = configSchema.safeParse({ store: url });
  expect(refused.error?.issues).toMatchObject([{ path: ["store"], message: expect.stringContaining(rule) }]);
  const text = JSON.stringify(mistakeOf({ path: ["store"], value: url, rule: refused.error?.issues[0]?.message ?? "" }, "flags"));
  expect(text).toContain("u:***@");
  expect(text).not.toContain("hunter2");
});

test("a password is masked wherever the driver takes one", () => {
  expect(withoutPassword("postgres://u:a@b:c/d@h/db?password=x&schema=s")).toBe("postgres://u:***@h/db?password=***&schema=s");
  expect(withoutPassword("./data/wakeful.db")).toBe("./data/wakeful.db");
});
