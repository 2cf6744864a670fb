import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";

test("pausing names all, a pipeline, a queue or an item", async () => {
  const { request } = await apiDaemon();
  const { item } = (await request("POST", "/v1/pipelines/comics/items", { body: { key: "a" } })).body;
  const pause = async (target: unknown) => (await request("POST", "/v1/pause", { body: { target } })).body;
  expect(await pause({ kind: "pipeline", name: "comics" })).toEqual({ changed: 2 });
  expect((await request("GET", "/v1/pipelines")).body.pipelines).toMatchObject([
    { name: "comics", paused: true },
    { name: "books", paused: false },
  ]);
  expect((await pause({ kind: "queue", name: "nope" })).error.code).toBe("not_found");
  expect(await pause({ kind: "item", id: item.id })).toEqual({ changed: 1 });
  expect(await pause({ kind: "item", id: item.id })).toEqual({ changed: 0 });
  expect((await request("POST", "/v1/resume", { body: { target: { kind: "all" } } })).body.changed).toBeGreaterThan(0);
});
