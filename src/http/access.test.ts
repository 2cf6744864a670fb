import { expect, test } from "vitest";
import { adminToken } from "../../test/support/admin-token.ts";
import { apiDaemon } from "../../test/support/api-daemon.ts";
import { asRunId } from "../domain/ids.ts";
import { api } from "../protocol/api/index.ts";

const admin = { authorization: `Bearer ${adminToken}` };
const json = { "content-type": "application/json" };

test("nothing but health and readiness answers without a token, also on loopback", async () => {
  const { app } = await apiDaemon();
  for (const { method, path, access } of Object.values(api)) {
    const answer = await app.inject({
      method,
      url: path.replace(/:\w+/g, "1"),
      headers: { host: "127.0.0.1:7070", ...(method === "POST" ? json : {}) },
      ...(method === "POST" ? { payload: "{}" } : {}),
    });
    expect([path, answer.statusCode === 401], path).toEqual([path, access !== "public"]);
    if (access !== "public")
      expect(answer.json().error).toMatchObject({ code: "unauthorized", correlationId: expect.stringMatching(/^test-/) });
  }
  expect((await app.inject({ method: "GET", url: "/nowhere", headers: { host: "localhost" } })).statusCode).toBe(401);
});

test.each([
  ["wrong token", { authorization: "Bearer nonsense" }, 401, "unauthorized"],
  ["token of another scheme", { authorization: `Basic ${adminToken}` }, 401, "unauthorized"],
  ["empty token", { authorization: "Bearer " }, 401, "unauthorized"],
  ["foreign host", { ...admin, host: "evil.example" }, 403, "forbidden"],
  ["host that only begins well", { ...admin, host: "localhost.evil.example" }, 403, "forbidden"],
  ["host with a path", { ...admin, host: "localhost/x" }, 403, "forbidden"],
  ["foreign origin", { ...admin, host: "localhost:7070", origin: "https://evil.example" }, 403, "forbidden"],
  ["origin of another port", { ...admin, host: "localhost:7070", origin: "http://localhost:9999" }, 403, "forbidden"],
  ["origin null", { ...admin, host: "localhost:7070", origin: "null" }, 403, "forbidden"],
])("%s is refused", async (_what, headers, status, code) => {
  const { app } = await apiDaemon();
  const answer = await app.inject({ method: "GET", url: "/v1/jobs", headers });
  expect([answer.statusCode, answer.json().error.code]).toEqual([status, code]);
});

test.each([["127.0.0.1:7070"], ["localhost"], ["LOCALHOST:1"], ["[::1]:7070"], ["wakeful.example"]])(
  "the host %s is answered",
  async (host) => {
    const { app } = await apiDaemon();
    expect((await app.inject({ method: "GET", url: "/v1/jobs", headers: { ...admin, host, origin: `http://${host}` } })).statusCode).toBe(
      200,
    );
  },
);

test.each([
  ["no content type", undefined],
  ["a form's", "application/x-www-form-urlencoded"],
  ["plain text", "text/plain"],
  ["one that only begins like JSON", "application/jsonx"],
])("a write with %s is refused before its body is read", async (_what, type) => {
  const { app } = await apiDaemon();
  const answer = await app.inject({
    method: "POST",
    url: "/v1/pause",
    headers: { ...admin, ...(type === undefined ? {} : { "content-type": type }) },
    payload: '{"target":{"kind":"all"}}',
  });
  expect([answer.statusCode, answer.json().error.code]).toEqual([415, "unsupported_media_type"]);
});

test("a run's token beats for its own run, and opens nothing else", async () => {
  const { app, claim, services, tokens, worker } = await apiDaemon();
  await services.store.jobs.enqueue({ queue: "mail", jobs: [{}, {}] });
  const runs = await claim(await worker(), ["mail"]);
  const [mine, other] = [runs[0]?.runId ?? asRunId(0), runs[1]?.runId ?? asRunId(0)];
  const headers = { authorization: `Bearer ${tokens.ofRun(mine)}`, ...json };
  const post = async (url: string, payload = "{}") => (await app.inject({ method: "POST", url, headers, payload })).statusCode;
  expect(await post(`/v1/runs/${mine}/beat`)).toBe(200);
  expect(await post(`/v1/runs/${mine}/progress`, '{"progress":0.5}')).toBe(200);
  expect(await post(`/v1/runs/${other}/beat`)).toBe(403);
  expect(await post("/v1/jobs/1/cancel")).toBe(403);
  expect((await app.inject({ method: "GET", url: `/v1/runs/${mine}`, headers })).statusCode).toBe(403);
});

test.each([
  ["malformed JSON", "{", 400, "bad_request"],
  ["a body that is no object", "[]", 400, "bad_request"],
  ["an unknown field", '{"target":{"kind":"all"},"x":1}', 400, "bad_request"],
  ["a reach into prototypes", '{"__proto__":{"a":1}}', 400, "bad_request"],
  ["a body nested deeper than anything could give out again", `{"x":${"[".repeat(9000)}${"]".repeat(9000)}}`, 400, "bad_request"],
  ["an oversized body", JSON.stringify({ x: "y".repeat(1024 * 1024) }), 413, "payload_too_large"],
])("%s is answered by a typed error", async (_what, body, status, code) => {
  const { request } = await apiDaemon();
  const answer = await request("POST", "/v1/pause", { body });
  expect([answer.status, answer.body.error.code]).toEqual([status, code]);
});

test.each(["0", "-1", "1.5", "NaN", "1e3", "0x1", "99999999999999999999", "9007199254740993", "%00", "abc"])(
  "the id %s is a bad request, never a lookup",
  async (id) => {
    const { request } = await apiDaemon();
    for (const path of [
      `/v1/jobs/${id}`,
      `/v1/items/${id}`,
      `/v1/runs/${id}`,
      `/v1/jobs?before=${id}`,
      `/v1/jobs?limit=${id === "0" ? "0" : id}`,
    ]) {
      const answer = await request("GET", path);
      expect([path, answer.status, answer.body.error.code]).toEqual([path, 400, "bad_request"]);
    }
  },
);

test("unknown ids, routes and methods are told as not found", async () => {
  const { request } = await apiDaemon();
  for (const path of [
    "/v1/jobs/7",
    "/v1/items/7",
    "/v1/runs/7",
    "/v1/runs/7/logs",
    "/v1/why?job=7",
    "/v1/why?item=7",
    "/v1/why?run=7",
    "/v1/pipelines/none",
    "/v1/nothing",
  ]) {
    const answer = await request("GET", path);
    expect([path, answer.status, answer.body.error.code]).toEqual([path, 404, "not_found"]);
  }
  expect((await request("POST", "/v1/jobs/7", { body: {} })).status).toBe(404);
});

test("a defect is answered without its text, and logged under the correlation id", async () => {
  const { request, services } = await apiDaemon({
    change: (plain) => ({
      ...plain,
      readiness: () => {
        throw new Error("password=hunter2");
      },
    }),
  });
  const seen: unknown[] = [];
  services.events.subscribe((event) => seen.push(event));
  const answer = await request("GET", "/readyz");
  expect([answer.status, answer.body.error.code]).toEqual([500, "internal"]);
  expect(answer.text).not.toContain("hunter2");
  expect(JSON.stringify(seen)).toContain(answer.body.error.correlationId);
});
