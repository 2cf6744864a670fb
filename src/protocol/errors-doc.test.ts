import { expect, test } from "vitest";
import { errorsDocument } from "./errors-doc.ts";

test("docs/errors.md is the table of codes; `vitest run src/protocol -u` writes it again", async () => {
  await expect(errorsDocument()).toMatchFileSnapshot("../../docs/errors.md");
});
