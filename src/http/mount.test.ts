import { expect, test } from "vitest";
import { apiDaemon } from "../../test/support/api-daemon.ts";

test.each(["a\0b", "half \ud83d"])("the API refuses the text %j, and names the field [F-8.1]", async (text) => {
  const { request } = await apiDaemon();
  const { item } = (await request("POST", "/v1/pipelines/comics/items", { body: { key: "a" } })).body;
  const refused = [
    await request("POST", "/v1/pipelines/comics/items", { body: { key: "b", label: text } }),
    await request("POST", "/v1/pipelines/comics/items", { body: { key: "b", branch: text } }),
    await request("POST", `/v1/items/${item.id}/cancel`, { body: { reason: text } }),
  ];
  expect(refused.map(({ status, body }) => [status, body.error.details.field])).toEqual([
    [400, "body.label"],
    [400, "body.branch"],
    [400, "body.reason"],
  ]);
  expect((await request("GET", "/v1/items?pipeline=%00")).status).toBe(400);
});

test("a JSON value may hold any text, and reads back as it was", async () => {
  const { request } = await apiDaemon();
  const input = { text: "a\0b \ud83d", "\0": 1 };
  const { item } = (await request("POST", "/v1/pipelines/comics/items", { body: { key: "a", input } })).body;
  expect((await request("GET", `/v1/items/${item.id}`)).body.item.input).toEqual(input);
});
