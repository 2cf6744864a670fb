import { expect, test } from "vitest";
import { cli } from "../../../test/support/cli-call.ts";

test.each(["bash", "zsh", "fish"])("completion of %s names commands and options", async (shell) => {
  const { code, out } = await cli(["completion", shell]);
  expect(code).toBe(0);
  for (const word of ["doctor", "--dry-run", "duplicates"]) expect(out).toContain(word);
});
