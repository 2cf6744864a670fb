import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";
import { bundleWakeful, startWakeful } from "../support/wakeful-program.ts";

let program: string;
let remove: () => void;
beforeAll(async () => {
  ({ program, remove } = await bundleWakeful());
});
afterAll(() => remove());

test("USR1 and USR2 open no debugger and end nothing, neither the daemon nor its handler host, and are told once [F-8.14]", async () => {
  const folder = tempDir("signals");
  writeFileSync(
    join(folder, "handlers.mjs"),
    'import { writeFileSync } from "node:fs";\nwriteFileSync("host.pid", String(process.pid));\nexport async function work() {}\n',
  );
  const yaml = `http: { listen: 127.0.0.1:0 }
worker: { handlers: ./handlers.mjs }
pipelines:
  p: { stages: { work: { run: { handler: work } } } }
`;
  writeFileSync(join(folder, "wakeful.yaml"), yaml);
  const daemon = startWakeful(program, ["up"], { cwd: folder });
  await until(() => daemon.err().includes("listens on"), { what: "the daemon to be up" });
  const host = await until(() => Number(readFileSync(join(folder, "host.pid"), "utf8")), { what: "the handler host to be up" });
  for (const pid of [daemon.pid, host]) {
    for (const signal of ["SIGUSR1", "SIGUSR2", "SIGUSR1"] as const) process.kill(pid, signal);
  }
  await until(() => count(daemon.err(), "SIGUSR1 does nothing") === 2 && count(daemon.err(), "SIGUSR2 does nothing") === 2, {
    what: "both processes to tell of both signals",
  });
  process.kill(host, 0);
  daemon.child.kill("SIGTERM");
  expect(await daemon.ended).toBe(0);
  expect(daemon.err()).not.toMatch(/debugger/i);
  expect(count(daemon.err(), "SIGUSR1 does nothing")).toBe(2);
});

const count = (text: string, part: string): number => text.split(part).length - 1;
