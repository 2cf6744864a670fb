import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { tempDir } from "../../../test/support/temp-dir.ts";
import { until } from "../../../test/support/until.ts";
import { ForeignPaths, type ForeignPathsOptions, type HungPlace } from "./foreign-paths.ts";
import type { PathOperation } from "./path-operation.ts";

/** A helper that does as the operation's name says, and answers with its own pid. */
const helper = `
process.on("message", ({ id, operation, args }) => {
  const say = (word) => process.send({ id, ...word });
  if (operation === "pid") say({ kind: "done", result: process.pid });
  if (operation === "same") say({ kind: "done", result: args });
  if (operation === "end") process.exit(1);
  if (operation === "fail") say({ kind: "failed", error: { message: "no such file", code: "ENOENT" } });
  if (operation === "probe-place" && !require("node:fs").existsSync(${JSON.stringify("GATE")})) say({ kind: "done" });
  if (operation === "slow") {
    let left = 8;
    const timer = setInterval(() => {
      left -= 1;
      say({ kind: "alive" });
      if (left > 0) return;
      clearInterval(timer);
      say({ kind: "done", result: "late" });
    }, 100);
  }
});
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
`;

/** One that is not run in this process: the test's places are all foreign. */
const operation = <Result = unknown>(name: string): PathOperation<unknown, Result> => ({
  name,
  run: async () => await Promise.reject(new Error("it ran in the daemon")),
});

const opened: ForeignPaths[] = [];
afterEach(() => {
  for (const each of opened.splice(0)) each.close();
});

/** Shares `a` and `b` below a folder of the test's own, as the list of mounts tells it. */
function world(overrides: Partial<ForeignPathsOptions> = {}) {
  const root = tempDir("foreign");
  const gate = join(root, "hangs");
  const mounts = `1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 0:2 / ${root}/a rw - nfs4 server:/a rw
3 1 0:3 / ${root}/b rw - fuse.x none rw
4 1 0:4 / ${root}/own rw - fuse.y none rw
`;
  const told: (HungPlace | { readonly answers: string })[] = [];
  const paths = new ForeignPaths({
    program: [process.execPath, "-e", helper.replace("GATE", gate)],
    dataDir: join(root, "own/data"),
    limitMs: 600,
    mono: () => performance.now(),
    onHung: (hung) => told.push(hung),
    onAnswers: ({ point }) => told.push({ answers: point }),
    mounts: () => mounts,
    ...overrides,
  });
  opened.push(paths);
  const call = async <Result>(name: string, ...at: readonly string[]): Promise<Result> =>
    await paths.do(operation<Result>(name), null, { paths: at.map((each) => join(root, each)) });
  return { root, gate, paths, told, call };
}

test("what lies on this machine is done in this process, and without a helper", async () => {
  const { paths, root } = world({ program: ["/nowhere/no-such-program"] });
  const here: PathOperation<number, number> = { name: "here", run: async (number) => number + process.pid };
  expect(await paths.do(here, 1, { paths: [join(root, "local/file")] })).toBe(process.pid + 1);
  expect(paths.isForeign(join(root, "local"))).toBe(false);
  // Where its own disk hangs, a helper would be of no use.
  expect(paths.isForeign(join(root, "own/data/work"))).toBe(false);
  expect(paths.isForeign(join(root, "a"))).toBe(true);
  await expect(paths.do(here, 1, { paths: [join(root, "a/file")] })).rejects.toMatchObject({ code: "unavailable" });
});

test("where the system lists no mounts, all but the data directory is foreign", () => {
  const { paths, root } = world({ mounts: () => undefined });
  expect([paths.isForeign(join(root, "x")), paths.isForeign(join(root, "own/data/x"))]).toEqual([true, false]);
});

test("each share has one helper of its own, which carries errors with their codes and data with its types", async () => {
  const { call, paths, root } = world();
  const pids = await Promise.all([call("pid", "a/1"), call("pid", "a/2"), call("pid", "b/1")]);
  expect(pids[0]).toBe(pids[1]);
  expect(pids[2]).not.toBe(pids[0]);
  await expect(call("fail", "a/1")).rejects.toMatchObject({ code: "ENOENT", message: "no such file" });
  const data = { path: Buffer.from([0xff]), size: 1n, none: undefined };
  expect(await paths.do(operation("same"), data, { paths: [join(root, "a")] })).toEqual(data);
});

test("a call without a sign is given up with all others there, and new ones are refused at once", async () => {
  const { call, told, root, paths, gate } = world();
  writeFileSync(gate, "");
  const before = await call<number>("pid", "a/1");
  const refused = { code: "path_unanswered", retryable: true, details: { point: join(root, "a") } };
  await Promise.all(Array.from({ length: 9 }, (_, at) => expect(call("hang", `a/${at}`)).rejects.toMatchObject(refused)));
  expect(told).toMatchObject([{ point: join(root, "a"), path: join(root, "a/0"), helperPid: before }]);
  await expect(call("pid", "a/1")).rejects.toMatchObject(refused);
  expect(paths.answers([join(root, "a/1")])).toBe(false);
  expect(paths.troublesOf([join(root, "a/1")])[0]).toContain("a/1 does not answer");
  expect(paths.troubles()).toHaveLength(1);
  // The other share is its own affair.
  expect(paths.answers([join(root, "b/1")])).toBe(true);
  expect(await call("pid", "b/1")).toBeGreaterThan(0);
});

test("once a probe is answered everything goes on, with a new helper", async () => {
  const { call, told, root, paths } = world();
  const before = await call("pid", "a/1");
  await expect(call("hang", "a/1")).rejects.toMatchObject({ code: "path_unanswered" });
  await until(() => told.some((each) => "answers" in each && each.answers === join(root, "a")), { what: "the share to answer again" });
  expect(await call("pid", "a/1")).not.toBe(before);
  expect(paths.troubles()).toEqual([]);
});

test("a call that says that it goes on may take longer than the limit", async () => {
  const { call } = world();
  expect(await call("slow", "a/1")).toBe("late");
});

test("of two shares in one call the one that hangs is found by its own probe", async () => {
  const { call, told, paths, root } = world();
  await expect(call("hang", "a/1", "b/1")).rejects.toMatchObject({ code: "path_unanswered" });
  await until(() => paths.answers([join(root, "a"), join(root, "b")]), { what: "both to be asked" });
  // Both answer their probes, so nobody is told of either.
  expect(told).toEqual([]);
});

test("a helper that dies is replaced at the next call", async () => {
  const { call } = world();
  await expect(call("end", "a/1")).rejects.toMatchObject({ code: "unavailable", retryable: true });
  expect(await call("pid", "a/1")).toBeGreaterThan(0);
});

test("who stops waiting is let go at once, and a close gives every call up", async () => {
  const { paths, root } = world({ limitMs: 600_000 });
  const at = { paths: [join(root, "a")] };
  await expect(paths.do(operation("hang"), null, { ...at, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "unavailable" });
  const calls = Array.from({ length: 6 }, () =>
    expect(paths.do(operation("hang"), null, at)).rejects.toMatchObject({ code: "unavailable" }),
  );
  paths.close();
  await Promise.all(calls);
  await expect(paths.do(operation("pid"), null, at)).rejects.toMatchObject({ code: "unavailable" });
});
