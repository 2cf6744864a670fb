import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { cli } from "../../../test/support/cli-call.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";

test("a configuration with mistakes starts nothing and exits with 2, naming line and value", async () => {
  const cwd = tempDir("cli");
  writeFileSync(join(cwd, "wakeful.yaml"), "worker:\n  concurrencyy: 3\n");
  for (const argv of [["config", "check"], ["up"], ["config", "show"]]) {
    const { code, err } = await cli(argv, { cwd });
    expect([argv, code]).toEqual([argv, 2]);
    expect(err).toMatch(/wakeful\.yaml:2:3 worker\.concurrencyy.*did you mean "concurrency"/);
  }
  expect(JSON.parse((await cli(["config", "check", "--json"], { cwd })).out)).toMatchObject({ valid: false, mistakes: [{ line: 2 }] });
});
