import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";

test("an item is submitted once per key, and told with its visit and job", async () => {
  const { request } = await apiDaemon();
  const first = await request("POST", "/v1/pipelines/comics/items", { body: { key: "batman", label: "Batman.cbz", input: { pages: 3 } } });
  expect([first.status, first.body.created, first.body.item]).toMatchObject([
    200,
    true,
    { key: "batman", dir: "batman", state: "active", stage: "prep", input: { pages: 3 } },
  ]);
  const again = await request("POST", "/v1/pipelines/comics/items", { body: { key: "batman" } });
  expect([again.body.created, again.body.item.id]).toEqual([false, first.body.item.id]);
  const shown = await request("GET", `/v1/items/${first.body.item.id}`);
  expect(shown.body).toMatchObject({
    visits: [{ stage: "prep", state: "open" }],
    jobs: [{ queue: "comics/prep", state: "queued" }],
    runs: [],
  });
  expect((await request("GET", "/v1/items?pipeline=comics&key=batman")).body.items).toHaveLength(1);
  expect((await request("GET", "/v1/items?state=done,failed")).body.items).toEqual([]);
});

test("the same key in another pipeline gets a directory of its own", async () => {
  const { request } = await apiDaemon();
  await request("POST", "/v1/pipelines/comics/items", { body: { key: "batman" } });
  const other = await request("POST", "/v1/pipelines/books/items", { body: { key: "batman" } });
  expect(other.body.item.dir).toBe("batman~books");
});

test("an item without a key gets one", async () => {
  const { request } = await apiDaemon();
  expect((await request("POST", "/v1/pipelines/comics/items", { body: {} })).body.item.key).toBe("made-1");
});

test.each(["", "-rf", ".hidden", "..", "../x", "a/b", "a\\b", "a\0b", "a\nb", " a", "x".repeat(201), "é".repeat(101), "\ud800"])(
  "the key %j is refused",
  async (key) => {
    const { request } = await apiDaemon();
    const answer = await request("POST", "/v1/pipelines/comics/items", { body: { key } });
    expect([answer.status, answer.body.error.code]).toEqual([400, "bad_request"]);
  },
);

test("an item is run again from a stage; an unknown stage names those there are", async () => {
  const { request } = await apiDaemon();
  const { item } = (await request("POST", "/v1/pipelines/comics/items", { body: { key: "a" } })).body;
  expect((await request("POST", `/v1/items/${item.id}/rerun`, { body: {} })).status).toBe(409);
  await request("POST", `/v1/items/${item.id}/cancel`, { body: {} });
  expect((await request("POST", `/v1/items/${item.id}/rerun`, { body: { from: "ocrr" } })).body.error.details.known).toEqual([
    "prep",
    "ocr",
  ]);
  expect((await request("POST", `/v1/items/${item.id}/rerun`, { body: { from: "ocr" } })).status).toBe(200);
  expect((await request("GET", `/v1/items/${item.id}`)).body.item).toMatchObject({ state: "active", stage: "ocr" });
});
