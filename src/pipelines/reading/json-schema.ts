import { z } from "zod";
import { configShape } from "../../config/schema.ts";
import { settingInfo } from "../../config/setting.ts";
import { pipelinesSchema } from "./schema.ts";
import { inputJson } from "./value-schemas.ts";

/** The JSON schema of wakeful.yaml, for editors. It says what may be written; relations between values are checked at start. */
export function wakefulJsonSchema(): Record<string, unknown> {
  const whole = z.strictObject({ ...configShape, pipelines: pipelinesSchema.optional() }).meta({ title: "wakeful.yaml" });
  const schema = z.toJSONSchema(whole, {
    io: "input",
    reused: "inline",
    override: ({ zodSchema, jsonSchema, path }) => {
      if (zodSchema instanceof z.ZodType) Object.assign(jsonSchema, settingInfo.get(zodSchema)?.json, inputJson.get(zodSchema));
      // Every section has a default, which zod cannot see through the preprocessing.
      if (path.length === 0) delete jsonSchema.required;
    },
  });
  return { ...schema };
}

/** The text of docs/wakeful.schema.json. */
export function wakefulJsonSchemaText(): string {
  return `${JSON.stringify(wakefulJsonSchema(), null, 2)}\n`;
}
