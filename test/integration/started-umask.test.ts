import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { api } from "../../src/protocol/api/index.ts";
import { untilItem } from "../support/daemon.ts";
import { readyDaemon } from "../support/ready-daemon.ts";
import { tempDir } from "../support/temp-dir.ts";
import { until } from "../support/until.ts";
import { bundleWakeful } from "../support/wakeful-program.ts";

let program: string;
let remove: () => void;
beforeAll(async () => {
  ({ program, remove } = await bundleWakeful());
});
afterAll(() => remove());

const modeOf = (path: string): string => (statSync(path).mode & 0o7777).toString(8);

test.each([
  ["0022", { file: "644", folder: "755" }],
  ["0002", { file: "664", folder: "775" }],
  ["0077", { file: "600", folder: "700" }],
])(
  "under umask %s commands, gates, handlers and the folders of people have that umask, and our own files stay private [F-2.2]",
  async (umask, modes) => {
    const folder = tempDir("umask");
    const yaml = `http: { listen: 127.0.0.1:0 }
worker: { handlers: ./handlers.mjs }
pipelines:
  docs:
    intake: { watch: ./inbox/in, match: ["*.pdf"], minStable: 0s, signature: "25504446" }
    stages:
      command: { run: { command: [sh, -c, "umask > of-command; touch by-command"] }, timeout: 1h, gate: { command: [sh, -c, "touch by-gate"] }, next: handler }
      handler: { run: { handler: work } }
`;
    writeFileSync(join(folder, "wakeful.yaml"), yaml);
    writeFileSync(
      join(folder, "handlers.mjs"),
      'import { writeFileSync } from "node:fs";\nexport async function work() { writeFileSync("by-handler", ""); }\n',
    );
    const argv = ["-c", `umask ${umask}; exec "$0" "$@"`, process.execPath, program, "up"];
    const child = spawn("sh", argv, { cwd: folder, env: { PATH: process.env["PATH"], HOME: folder }, stdio: "ignore" });
    onTestFinished(async () => {
      child.kill("SIGKILL");
      await once(child, "exit");
    });
    const client = await readyDaemon(join(folder, "data"));
    await until(() => existsSync(join(folder, "inbox/in")), { what: "the watched folder to be made" });
    writeFileSync(join(folder, "inbox/in/good.pdf"), "%PDF-1");
    writeFileSync(join(folder, "inbox/in/bad.pdf"), "no");
    const item = await until(async () => (await client.call(api.listItems, { query: {} })).items[0], { what: "the file to be taken" });
    await untilItem(client, item.id, "done");
    await until(() => existsSync(join(folder, "inbox/archive/good.pdf")) && existsSync(join(folder, "inbox/error/bad.pdf.reason.json")), {
      what: "both files to be put away",
    });
    expect(readFileSync(join(folder, "of-command"), "utf8").trim()).toBe(umask);
    for (const name of ["by-command", "by-gate", "by-handler", "inbox/error/bad.pdf.reason.json"])
      expect([name, modeOf(join(folder, name))]).toEqual([name, modes.file]);
    for (const name of ["inbox", "inbox/in", "inbox/archive", "inbox/error"])
      expect([name, modeOf(join(folder, name))]).toEqual([name, modes.folder]);
    for (const name of ["data", "data/work", "data/runs"]) expect([name, modeOf(join(folder, name))]).toEqual([name, "700"]);
    expect(modeOf(join(folder, "data/host-id"))).toBe("600");
  },
);

test("a folder of people takes the group's bit of its parent, and one that is there stays as it is [F-2.2]", async () => {
  const folder = tempDir("umask");
  mkdirSync(join(folder, "inbox/error"), { recursive: true });
  chmodSync(join(folder, "inbox"), 0o2775);
  chmodSync(join(folder, "inbox/error"), 0o750);
  writeFileSync(
    join(folder, "wakeful.yaml"),
    'http: { listen: 127.0.0.1:0 }\npipelines:\n  docs: { intake: { watch: ./inbox/in }, stages: { work: { run: { command: ["true"] }, timeout: 1h } } }\n',
  );
  const child = spawn("sh", ["-c", 'umask 0002; exec "$0" "$@"', process.execPath, program, "up"], {
    cwd: folder,
    env: { PATH: process.env["PATH"], HOME: folder },
    stdio: "ignore",
  });
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await once(child, "exit");
  });
  await readyDaemon(join(folder, "data"));
  await until(() => existsSync(join(folder, "inbox/in")) && modeOf(join(folder, "inbox/in")) === "2775", {
    what: "the watched folder to be made",
  });
  expect([modeOf(join(folder, "inbox")), modeOf(join(folder, "inbox/error"))]).toEqual(["2775", "750"]);
});
