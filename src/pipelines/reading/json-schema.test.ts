import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { listedSettings } from "../../config/reference.ts";
import { valueAt } from "../../config/zod-findings.ts";
import { wakefulJsonSchema, wakefulJsonSchemaText } from "./json-schema.ts";

test("docs/wakeful.schema.json is what the validating schemas say; `vitest -u` renews it", async () => {
  await expect(wakefulJsonSchemaText()).toMatchFileSnapshot(fileURLToPath(new URL("../../../docs/wakeful.schema.json", import.meta.url)));
});

test("every setting is in the schema with its meaning and default", () => {
  const schema = wakefulJsonSchema();
  for (const { path, info } of listedSettings) {
    const described = valueAt(
      schema,
      path.flatMap((step) => ["properties", step]),
    );
    expect(described, path.join(".")).toMatchObject({ description: info.meaning });
    expect(valueAt(described, ["default"]) !== undefined, path.join(".")).toBe(info.default !== "");
  }
});

test("editors report unknown keys at every level, and require no section", () => {
  const schema = wakefulJsonSchema();
  expect(schema).toMatchObject({ additionalProperties: false, properties: { worker: { additionalProperties: false } } });
  expect(schema["required"]).toBeUndefined();
});
