import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { cli } from "../../../test/support/cli-call.ts";

test("what can be paused is said to whoever names something else", async () => {
  const { code, err } = await cli(["pause", "comics"], { daemon: await apiDaemon() });
  expect([code, err]).toEqual([2, expect.stringContaining("pipeline:NAME, queue:NAME, worker:3, or item:4")]);
});

test("an item is paused and resumed, by its number and by its key", async () => {
  const daemon = await apiDaemon();
  await daemon.services.operations.submit({ pipeline: "comics", key: "batman", actor: "t" });
  expect((await cli(["pause", "item:1"], { daemon })).out).toBe("item:1 is paused\n");
  expect((await cli(["pause", "item:1"], { daemon })).out).toBe("item:1 is paused already\n");
  expect((await cli(["resume", "comics/batman"], { daemon })).out).toBe("item:1 is resumed\n");
});

test("pausing names what it means, once", async () => {
  const daemon = await apiDaemon();
  expect((await cli(["pause"], { daemon })).code).toBe(2);
  expect((await cli(["pause", "item:1", "--all"], { daemon })).code).toBe(2);
  expect((await cli(["pause", "pipeline:comics"], { daemon })).out).toBe("pipeline:comics is paused\n");
  expect((await cli(["resume", "queue:comics/prep"], { daemon })).out).toBe("queue:comics/prep is resumed\n");
  expect((await cli(["resume", "--all"], { daemon })).code).toBe(0);
  const worker = `worker:${await daemon.worker()}`;
  expect((await cli(["pause", worker], { daemon })).out).toBe(`${worker} is paused\n`);
  expect((await cli(["pause", worker], { daemon })).out).toBe(`${worker} is paused already\n`);
  expect((await cli(["ls", "workers"], { daemon })).out).toContain("live, paused");
});
