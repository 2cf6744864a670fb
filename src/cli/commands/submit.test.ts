import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { cli } from "../../../test/support/cli-call.ts";
import { tempDir } from "../../../test/support/temp-dir.ts";

test("submit says which item entered which stage, and of a key that is taken how its item stands", async () => {
  const daemon = await apiDaemon();
  expect(await cli(["submit", "comics", "--key", "batman", "--input", '{"pages":3}', "--label", "Batman.cbz"], { daemon })).toEqual({
    code: 0,
    out: "item:1 (comics/batman) entered stage prep\n",
    err: "",
  });
  expect((await cli(["submit", "comics", "--key", "batman"], { daemon })).out).toContain("exists already and is active");
});

test("the input is JSON, also from a file; what is none, or cannot be read, is a wrong call and submits nothing", async () => {
  const daemon = await apiDaemon();
  const folder = tempDir("submit");
  writeFileSync(join(folder, "input.json"), '{"pages":3}');
  const submit = async (input: string) => (await cli(["submit", "comics", "--input", input, "--json"], { daemon })).code;
  expect(await submit("nonsense")).toBe(2);
  expect(await submit(`@${join(folder, "absent")}`)).toBe(2);
  expect((await daemon.request("GET", "/v1/items")).body.items).toEqual([]);
  expect(await submit(`@${join(folder, "input.json")}`)).toBe(0);
  expect((await daemon.request("GET", "/v1/items")).body.items).toMatchObject([{ input: { pages: 3 } }]);
});
