import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";

test("the settings in force are listed, changed, and the change is on record under its correlation id [B-68]", async () => {
  const { request, services } = await apiDaemon();
  const before = await request("GET", "/v1/settings");
  expect(before.body.settings).toMatchObject({ reaper: { deadTicks: 2 }, leases: { scope: [] }, loops: { intake: { enabled: true } } });
  const headers = { "x-wakeful-actor": "cli:ana" };
  const changed = await request("POST", "/v1/settings", { headers, body: { reaper: { deadTicks: 3, finalizeGraceMs: "2m" } } });
  expect(changed.status).toBe(200);
  expect(changed.body.changes).toEqual([
    { key: "reaper.deadTicks", from: 2, to: 3 },
    { key: "reaper.finalizeGraceMs", from: 300_000, to: 120_000 },
  ]);
  expect(services.settings.read().reaper).toMatchObject({ deadTicks: 3, finalizeGraceMs: 120_000 });
  expect((await request("GET", "/v1/settings")).body.settings).toEqual(changed.body.settings);
  expect(await services.store.actions.list({ limit: 1 })).toMatchObject([
    { action: "settings.changed", actor: "cli:ana", correlationId: expect.stringMatching(/^test-/) },
  ]);
});

test("a bad change is the caller's mistake, told whole, and changes nothing [B-68]", async () => {
  const { request, services } = await apiDaemon();
  const before = services.settings.read();
  const bad = await request("POST", "/v1/settings", {
    body: { reaper: { deadTicks: 0, enabled: false }, loops: { intak: { enabled: false } } },
  });
  expect(bad.status).toBe(400);
  expect(bad.body.error).toMatchObject({
    code: "config_invalid",
    message: expect.stringMatching(/2 mistakes[^]*reaper\.deadTicks[^]*did you mean "intake"/),
    details: { mistakes: [{ path: "reaper.deadTicks" }, { path: "loops.intak" }] },
  });
  for (const body of [[], 3, null, { retention: { logsMs: 1 } }, { reaper: 5 }, '{"__proto__":{"a":1}}'])
    expect((await request("POST", "/v1/settings", { body })).status, JSON.stringify(body)).toBe(400);
  expect(services.settings.read()).toBe(before);
  expect(await services.store.actions.list({ limit: 10 })).toEqual([]);
});

test("settings are the admin's alone", async () => {
  const { request } = await apiDaemon();
  const headers = { authorization: "Bearer nobody" };
  expect((await request("GET", "/v1/settings", { headers })).status).toBe(401);
  expect((await request("POST", "/v1/settings", { headers, body: { reaper: { deadTicks: 3 } } })).status).toBe(401);
});
