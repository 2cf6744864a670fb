import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { cli } from "../../../test/support/cli-call.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";

test("init writes a project whose configuration is valid, and overwrites nothing", async () => {
  const cwd = tempDir("cli");
  expect((await cli(["init", "demo"], { cwd })).out).toContain(`wrote ${join("demo", "wakeful.yaml")}`);
  const { code, out } = await cli(["config", "check"], { cwd: join(cwd, "demo") });
  expect([code, out]).toEqual([0, expect.stringContaining("valid; pipelines: words")]);
  expect(readFileSync(join(cwd, "demo/wakeful.yaml"), "utf8")).toContain("maxLosses: 3");
  writeFileSync(join(cwd, "demo/wakeful.yaml"), "mine");
  expect((await cli(["init", "demo"], { cwd })).code).toBe(5);
  expect(readFileSync(join(cwd, "demo/wakeful.yaml"), "utf8")).toBe("mine");
  expect((await cli(["init", "demo", "--force"], { cwd })).code).toBe(0);
});
