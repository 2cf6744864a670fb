import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { cli } from "../../../test/support/cli-call.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";

test("migrate makes the store where there is none, in a data directory of its owner's alone, and a second time changes nothing", async () => {
  const cwd = tempDir("cli");
  const path = join(cwd, "data/wakeful.db");
  expect(await cli(["migrate"], { cwd })).toEqual({ code: 0, out: `${path} has the schema of wakeful 0.1.0\n`, err: "" });
  expect([existsSync(path), statSync(join(cwd, "data")).mode & 0o777]).toEqual([true, 0o700]);
  expect(JSON.parse((await cli(["migrate", "--json"], { cwd })).out)).toEqual({ migrated: true, store: path });
});
