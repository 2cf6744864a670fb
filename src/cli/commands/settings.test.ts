import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { cli } from "../../../test/support/cli-call.ts";

test("settings are listed by their dotted keys", async () => {
  const { code, out } = await cli(["settings"], { daemon: await apiDaemon() });
  expect(code).toBe(0);
  expect(out).toMatch(/^SETTING +VALUE\n/);
  expect(out).toMatch(/^reaper\.deadTicks +2$/m);
  expect(out).toMatch(/^loops\.job-reaper\.enabled +true$/m);
  expect(out).toMatch(/^leases\.scope +\[\]$/m);
});

test("settings are changed by key=value: JSON, or a text", async () => {
  const daemon = await apiDaemon();
  const changed = await cli(
    ["settings", "reaper.deadTicks=3", "loops.intake.enabled=false", "reaper.finalizeGraceMs=5m", 'leases.scope=["a"]'],
    {
      daemon,
    },
  );
  expect([changed.code, changed.err]).toEqual([0, ""]);
  expect(changed.out).toContain("reaper.deadTicks: 2 -> 3\n");
  expect(changed.out).toContain("loops.intake.enabled: true -> false\n");
  expect(changed.out).toContain('leases.scope: [] -> ["a"]\n');
  expect(changed.out).not.toContain("finalizeGraceMs");
  expect(daemon.services.settings.read()).toMatchObject({ reaper: { deadTicks: 3 }, loops: { intake: { enabled: false } } });
  expect((await cli(["settings", "reaper.deadTicks=3"], { daemon })).out).toBe("all of it is in force already\n");
  expect(JSON.parse((await cli(["settings", "reaper.deadTicks=2", "--json"], { daemon })).out)).toMatchObject({
    changes: [{ key: "reaper.deadTicks", from: 3, to: 2 }],
  });
});

test("a wrong call and a wrong value exit with 2 and change nothing", async () => {
  const daemon = await apiDaemon();
  const before = daemon.services.settings.read();
  for (const argv of [
    ["reaper.deadTicks"],
    ["=3"],
    ["reaper.deadTicks=0"],
    ["reaper.deadTicks=many"],
    ["reper.deadTicks=3", "loops.intake.enabled=false"],
  ]) {
    const { code, err } = await cli(["settings", ...argv], { daemon });
    expect([code, err.length > 0], argv.join(" ")).toEqual([2, true]);
  }
  expect(daemon.services.settings.read()).toBe(before);
});
