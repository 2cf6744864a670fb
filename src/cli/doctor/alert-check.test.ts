import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../../test/support/temp-dir.ts";
import { asInstant } from "../../domain/time.ts";
import { createAlertDeliverer } from "../../notify/alerts.ts";
import { checkAlerts } from "./alert-check.ts";

const wall = Date.UTC(2026, 0, 2);
const hour = 3_600_000;

async function tell(dataDir: string, alert: { readonly hoursAgo: number; readonly cause: string; readonly title: string }): Promise<void> {
  const { hoursAgo, cause, title } = alert;
  const now = () => asInstant(wall - hoursAgo * hour);
  const deliverer = createAlertDeliverer({ emit: () => undefined, file: join(dataDir, "alerts.jsonl"), now });
  await deliverer.deliver({ kind: "alert", key: cause, payload: JSON.stringify({ title }) } as never, new AbortController().signal);
}

test("the alerts of the last day are told, the newest cause first and each cause once with its newest text", async () => {
  const dataDir = tempDir("alerts");
  expect(checkAlerts({ dataDir, wall })).toMatchObject([{ level: "ok", text: "none in the last 24 h" }]);
  await tell(dataDir, { hoursAgo: 25, cause: "old", title: "long ago" });
  await tell(dataDir, { hoursAgo: 3, cause: "stuck:handlers", title: "All 4 handlers of handlers ignore that they were asked to stop" });
  await tell(dataDir, { hoursAgo: 2, cause: "handler_host:7", title: "pid 7 cannot be stopped" });
  await tell(dataDir, { hoursAgo: 1, cause: "stuck:handlers", title: "All 2 handlers of handlers ignore that they were asked to stop" });
  appendFileSync(join(dataDir, "alerts.jsonl"), '{"at": "torn');
  expect(checkAlerts({ dataDir, wall })).toMatchObject([
    {
      level: "warning",
      check: "alert stuck:handlers",
      text: "All 2 handlers of handlers ignore that they were asked to stop (1 h ago, 2 times in 24 h)",
    },
    { level: "warning", check: "alert handler_host:7", text: "pid 7 cannot be stopped (2 h ago)" },
  ]);
});

test("alerts that cannot be read are not told as none", () => {
  const dataDir = tempDir("alerts");
  mkdirSync(join(dataDir, "alerts.jsonl"));
  expect(checkAlerts({ dataDir, wall })).toMatchObject([
    { level: "warning", check: "alerts", text: expect.stringContaining("is no file") },
  ]);
});

test("of a flood ten causes are told and the others counted; a long file is read from its end", async () => {
  const dataDir = tempDir("alerts");
  writeFileSync(join(dataDir, "alerts.jsonl"), `${"x".repeat(1_000_000)}\n`);
  for (let n = 0; n < 12; n += 1) await tell(dataDir, { hoursAgo: 1, cause: `cause:${n}`, title: "something" });
  const findings = checkAlerts({ dataDir, wall });
  expect(findings).toHaveLength(11);
  expect(findings.at(-1)).toMatchObject({ text: "and 2 more causes" });
});
