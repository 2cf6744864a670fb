import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { apiDaemon } from "../../test/support/api-daemon.ts";
import { cli } from "../../test/support/cli-call.ts";
import { tempDir } from "../../test/support/temp-dir.ts";
import { commands } from "./commands.ts";

test("help names every command and the exit codes, and ends with 0", async () => {
  const { code, out } = await cli(["--help"]);
  expect(code).toBe(0);
  for (const { name } of commands) expect(out).toContain(name.split(" ")[0]);
  expect(out).toContain("Exit codes:");
});

test.each([
  [["lss"], /unknown command 'lss'[\s\S]*Did you mean ls/],
  [["ls", "--frob"], /unknown option '--frob'/],
  [["show"], /missing required argument 'what'/],
  [["show", "1", "2"], /too many arguments/],
  [["config"], /config/],
  [["--config", "other.yaml", "ls"], /unknown option '--config'[\s\S]*options stand behind the command, as in wakeful ls --json/],
])("a call that cannot be understood exits with 2: %j", async (argv, text) => {
  const { code, out, err } = await cli(argv);
  expect(code).toBe(2);
  expect(out + err).toMatch(text);
});

test.each([[["frobnicate"]], [["ls", "--bogus"]], [["show"]], [["why", "item:1", "more"]]])(
  "a call that cannot be understood, %j, answers in JSON too when asked to",
  async (argv) => {
    const { code, out, err } = await cli([...argv, "--json"]);
    expect([code, err]).toEqual([2, ""]);
    expect(JSON.parse(out)).toMatchObject({ error: { code: "bad_request", message: expect.stringContaining("error: ") } });
    expect(await cli(argv)).toMatchObject({ code: 2, out: "", err: expect.stringContaining("error: ") });
  },
);

test("the exit code is that of the error's code, and --json prints the error as an object", async () => {
  const daemon = await apiDaemon();
  expect(await cli(["show", "job:9"], { daemon })).toEqual({ code: 4, out: "", err: "There is no job 9.\n" });
  const { code, out, err } = await cli(["show", "job:9", "--json"], { daemon });
  expect([code, err, JSON.parse(out)]).toMatchObject([
    4,
    "",
    { error: { code: "not_found", details: { jobId: 9 }, correlationId: expect.stringMatching(/^test-/) } },
  ]);
  expect((await cli(["show", "what?"], { daemon })).code).toBe(2);
});

test("colours reach a terminal only, and not one that refuses them", async () => {
  const daemon = await apiDaemon();
  await daemon.services.store.jobs.enqueue({ queue: "mail", jobs: [{}] });
  await cli(["cancel", "1"], { daemon });
  const escapes = async (colour: boolean, ...extra: string[]) =>
    (await cli(["ls", "jobs", ...extra], { daemon, colour })).out.includes("\u001b[");
  expect([await escapes(true), await escapes(false), await escapes(true, "--no-color")]).toEqual([true, false, false]);
});

test("names that others chose cannot command the terminal, nor break the table", async () => {
  const daemon = await apiDaemon();
  await daemon.services.operations.submit({ pipeline: "comics", key: "a", label: "x\u001b[2J\ny", actor: "t" });
  const { out } = await cli(["ls"], { daemon });
  expect(out).not.toContain("\u001b");
  expect(out.trimEnd().split("\n")).toHaveLength(2);
  expect((await cli(["show", "item:1"], { daemon })).out).not.toContain("\u001b");
});

test("whatever names a thing that does not exist is not found, in every command", async () => {
  const daemon = await apiDaemon();
  const things = ["job:99", "item:99", "run:99", "comics/absent"];
  const targets = ["item:99", "comics/absent", "worker:99", "queue:absent", "pipeline:absent"];
  const calls = [
    ...["show", "why", "logs", "rerun"].flatMap((command) => things.map((thing) => [command, thing])),
    // A run by itself is neither retried nor cancelled: that is a wrong call.
    ...["retry", "unhold", "cancel"].flatMap((command) => things.filter((thing) => thing !== "run:99").map((thing) => [command, thing])),
    ...["pause", "resume"].flatMap((command) => targets.map((target) => [command, target])),
    ["submit", "absent"],
    ["leases", "release", "absent"],
    ["decide", "999", "discard"],
  ];
  const answers = [];
  for (const argv of calls) {
    const { code } = await cli(argv, { daemon });
    answers.push([argv.join(" "), code]);
  }
  expect(answers.filter(([, code]) => code !== 4)).toEqual([]);
});

test.each([
  [["init", "/proc/x/demo"], 2, "/proc/x"],
  [["migrate", "--data-dir", "/proc/x/data"], 8, "/proc/x/data"],
  [["ls", "--data-dir", "/proc/x/data"], 7, "/proc/x/data"],
])("where no folder can be made, %j says so and ends", async (argv, exitCode, path) => {
  const cwd = tempDir("cli");
  writeFileSync(join(cwd, "wakeful.yaml"), "http: { listen: 127.0.0.1:0 }\n");
  const { code, err } = await cli(argv, { cwd });
  expect([code, err]).toEqual([exitCode, expect.stringContaining(path)]);
});
