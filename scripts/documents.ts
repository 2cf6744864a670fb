import { readFileSync } from "node:fs";
import { join } from "node:path";
import { cliDocument } from "../src/cli/commands-doc.ts";
import { environmentExample } from "../src/config/environment-doc.ts";
import { configurationDocument } from "../src/config/reference-doc.ts";
import { lifecyclesDocument } from "../src/domain/lifecycles-doc.ts";
import { wakefulJsonSchemaText } from "../src/pipelines/reading/json-schema.ts";
import { errorsDocument } from "../src/protocol/errors-doc.ts";
import { eventsDocument } from "../src/telemetry/events-doc.ts";
import { readEventFields } from "./event-fields.ts";
import { repositoryRoot } from "./source-tree.ts";

/** A file that is made from the code's own tables, and how. */
export interface GeneratedDocument {
  /** Relative to the repository's root. */
  readonly path: string;
  readonly make: () => string | Promise<string>;
}

const eventsSource = "src/telemetry/events.ts";

export const generatedDocuments: readonly GeneratedDocument[] = [
  { path: "docs/lifecycles.md", make: lifecyclesDocument },
  { path: "docs/configuration.md", make: configurationDocument },
  { path: "docs/wakeful.env.example", make: environmentExample },
  { path: "docs/cli.md", make: cliDocument },
  { path: "docs/errors.md", make: errorsDocument },
  {
    path: "docs/events.md",
    make: () => eventsDocument(readEventFields(eventsSource, readFileSync(join(repositoryRoot, eventsSource), "utf8"))),
  },
  { path: "docs/wakeful.schema.json", make: wakefulJsonSchemaText },
  // Loaded last and alone: it needs the whole API, and a mistake there should not keep the other pages from being made.
  { path: "docs/openapi.json", make: async () => (await import("./openapi.ts")).openApiText() },
];
