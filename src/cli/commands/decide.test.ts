import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { cli } from "../../../test/support/cli-call.ts";

test("a duplicate is decided once, in words with - or _, and by its number with or without the word before it", async () => {
  const daemon = await apiDaemon();
  const { store, operations } = daemon.services;
  const itemId = (await operations.submit({ pipeline: "comics", key: "k", actor: "ana" })).item.id;
  const held = { pipeline: "comics", key: "k", existingItemId: itemId, fileName: "k.cbz", path: "/held/k.cbz", sizeBytes: 1 };
  const id = await store.duplicates.add(held);
  expect(await cli(["decide", `duplicate:${id}`, "use-existing"], { daemon })).toMatchObject({
    code: 0,
    out: `duplicate ${id}: use_existing; the intake carries it out\n`,
  });
  expect(await cli(["decide", String(id), "discard"], { daemon })).toMatchObject({
    code: 5,
    err: expect.stringContaining("decided before: use_existing"),
  });
});

test("what is no number or no decision is a wrong call, and says what there is", async () => {
  expect(await cli(["decide", "k.cbz", "discard"])).toMatchObject({ code: 2, err: expect.stringContaining("wakeful ls duplicates") });
  expect(await cli(["decide", "1", "keep"])).toMatchObject({ code: 2, err: expect.stringContaining("write use_existing, discard") });
});
