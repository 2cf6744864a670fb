import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { repositoryRoot } from "../../scripts/source-tree.ts";
import { commands } from "../../src/cli/commands.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";
import { bundleWakeful, startWakeful } from "../support/wakeful-program.ts";

let program: string;
let remove: () => void;
beforeAll(async () => {
  ({ program, remove } = await bundleWakeful());
});
afterAll(() => remove());

// With port 0 this test and other daemons of this machine do not find each other.
const yaml = `dataDir: ./data
http: { listen: 127.0.0.1:0 }
pipelines:
  p:
    stages:
      work:
        run: { command: [sh, -c, "echo worked"] }
        timeout: 1h
`;

/** A call, and the exit code that it ends with. */
type Call = readonly [code: number, ...argv: string[]];

const withoutDaemon: readonly Call[] = [
  [0, "init", "new"],
  [0, "config", "check"],
  [0, "config", "show"],
  [0, "migrate"],
  [0, "ls"],
  [0, "doctor"],
  [0, "doctor", "--reset-clock"],
  [0, "completion", "bash"],
  [0, "run", "--", "true"],
  [7, "submit", "p"],
];

const withDaemon: readonly Call[] = [
  [0, "submit", "p", "--key", "first"],
  ...["items", "jobs", "runs", "workers", "leases", "loops", "slots", "pipelines", "duplicates"].map((what): Call => [0, "ls", what]),
  [0, "show", "item:1"],
  [0, "why", "item:1"],
  [0, "run", "--", "true"],
  [0, "logs", "job:1"],
  [0, "reap", "--dry-run"],
  [0, "leases"],
  [4, "leases", "release", "absent"],
  [4, "decide", "99", "discard"],
  [4, "move", "item:1", "--host", "nowhere:/"],
  [5, "unhold", "job:1"],
  [0, "pause", "--all"],
  [0, "rerun", "item:1"],
  [0, "cancel", "item:1"],
  [0, "resume", "--all"],
  [5, "retry", "item:1"],
  [0, "settings"],
  [0, "settings", "reaper.deadTicks=3"],
  [0, "config", "show"],
  [0, "doctor"],
];

/** Commands that may be called a second time, for their JSON. */
const readers: ReadonlySet<string> = new Set(["ls", "show", "why", "logs", "config", "doctor", "completion"]);

/** What a call printed. It must end with its code, and print nothing that only a defect prints. */
async function ended(folder: string, [code, ...argv]: Call): Promise<string> {
  const called = startWakeful(program, argv, { cwd: folder });
  const answer = await called.ended;
  const said = `wakeful ${argv.join(" ")}: ${called.out()}${called.err()}`;
  expect.soft([answer, said]).toEqual([code, expect.not.stringMatching(/this is a defect|^ {4}at /m)]);
  return called.out();
}

test("no command of a release ends as a defect, with a daemon or without one", async () => {
  const folder = tempDir("every-command");
  writeFileSync(join(folder, "wakeful.yaml"), yaml);
  mkdirSync(join(folder, "new"));
  for (const call of withoutDaemon) await ended(folder, call);

  const up = startWakeful(program, ["up", "--json"], { cwd: folder });
  await until(() => up.out().includes("socketPath"), { what: "the daemon to listen" });
  for (const call of withDaemon) {
    const text = await ended(folder, call);
    if (readers.has(call[1] ?? "")) expect.soft(JSON.parse(await ended(folder, [...call, "--json"])), text).toEqual(expect.anything());
    if (call[1] === "submit") await until(async () => (await ended(folder, [0, "show", "item:1"])).includes("done"));
  }
  // Every file of the data directory is listed for its operator.
  const page = readFileSync(join(repositoryRoot, "docs/operating.md"), "utf8");
  expect(readdirSync(join(folder, "data")).filter((name) => !page.includes(`\`${name}\``) && !page.includes(`\`${name}/`))).toEqual([]);
  up.child.kill("SIGTERM");
  expect([await up.ended, up.err()]).toEqual([0, expect.not.stringContaining("defect")]);
});

test("every command is called by this test", () => {
  const called = [...withoutDaemon, ...withDaemon, [0, "up"]].map(([, ...argv]) => argv.join(" "));
  expect(commands.map(({ name }) => name).filter((name) => !called.some((call) => `${call} `.startsWith(`${name} `)))).toEqual([]);
});
