import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { cli } from "../../../test/support/cli-call.ts";

test("an item runs again from its first stage or from another, named by itself or by a job of it", async () => {
  const daemon = await apiDaemon();
  await daemon.services.operations.submit({ pipeline: "comics", key: "batman", actor: "t" });
  expect((await cli(["rerun", "item:1"], { daemon })).code).toBe(5);
  await cli(["cancel", "item:1"], { daemon });
  expect((await cli(["rerun", "1", "--from", "ocr"], { daemon })).out).toBe("item:1 runs again from ocr as job:2\n");
  await cli(["cancel", "item:1"], { daemon });
  expect((await cli(["rerun", "job:2"], { daemon })).out).toBe("item:1 runs again as job:3\n");
  expect(await daemon.services.store.items.jobs((await daemon.request("GET", "/v1/items/1")).body.item.id)).toMatchObject([
    { queue: "comics/prep", state: "cancelled" },
    { queue: "comics/ocr", state: "cancelled" },
    { queue: "comics/prep", state: "queued" },
  ]);
});
