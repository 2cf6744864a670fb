import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../test/support/temp-dir.ts";
import { makeSides, type Sides } from "./sides.ts";

/** A repository whose build copies `source` to `dist/out`. */
function smallRepository(): { readonly path: string; readonly git: (...args: string[]) => void } {
  const path = tempDir("repository");
  const git = (...args: string[]): void =>
    void execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@localhost", ...args], { cwd: path, stdio: "pipe" });
  writeFileSync(join(path, ".gitignore"), "dist/\nnode_modules\n");
  writeFileSync(join(path, "package-lock.json"), "no lock file\n");
  writeFileSync(join(path, "package.json"), JSON.stringify({ scripts: { build: "mkdir dist && cp source dist/out" } }));
  writeFileSync(join(path, "source"), "first");
  writeFileSync(join(path, "gone"), "soon");
  mkdirSync(join(path, "node_modules"));
  git("init", "--quiet");
  git("add", ".");
  git("commit", "--quiet", "--message=Add the source");
  return { path, git };
}

/** npm alone takes a second to start on a busy machine. */
const limit = { timeout: 60_000 };

const make = (repository: string, revision: string, said: string[] = []): Promise<Sides> =>
  makeSides({ repository, revision, folder: tempDir("sides"), signal: new AbortController().signal, say: (line) => void said.push(line) });
const built = ({ folder }: { readonly folder: string }): string => readFileSync(join(folder, "dist/out"), "utf8");

test("the base is built as it was committed, the tree as it stands: changed, new and deleted files included", limit, async () => {
  const { path } = smallRepository();
  writeFileSync(join(path, "source"), "second");
  writeFileSync(join(path, "new"), "not added");
  symlinkSync("new", join(path, "link"));
  rmSync(join(path, "gone"));
  const { base, tree } = await make(path, "HEAD");
  expect([built(base), built(tree)]).toEqual(["first", "second"]);
  expect(base.name).toMatch(/^[0-9a-f]{7,} Add the source$/);
  expect([existsSync(join(base.folder, "new")), existsSync(join(tree.folder, "link"))]).toEqual([false, true]);
  expect([existsSync(join(base.folder, "gone")), existsSync(join(tree.folder, "gone"))]).toEqual([true, false]);
  // Neither touches the repository itself.
  expect(existsSync(join(path, "dist"))).toBe(false);
});

test("packages are shared where the lock file is the same, and installed where it is another", limit, async () => {
  const { path, git } = smallRepository();
  const lock = { name: "small", lockfileVersion: 3, requires: true, packages: { "": { name: "small" } } };
  writeFileSync(join(path, "package-lock.json"), JSON.stringify(lock));
  git("commit", "--quiet", "--all", "--message=Add a lock file");
  writeFileSync(join(path, "package-lock.json"), JSON.stringify({ ...lock, version: "2.0.0" }));
  writeFileSync(join(path, "node_modules/mark"), "shared");
  const said: string[] = [];
  const { base, tree } = await make(path, "HEAD", said);
  expect([base, tree].map(({ folder }) => existsSync(join(folder, "node_modules/mark")))).toEqual([false, true]);
  expect(said.filter((line) => line.startsWith("installing"))).toHaveLength(1);
});

test("packages that cannot be installed are told as such", limit, async () => {
  const { path } = smallRepository();
  // The committed lock file is one that npm cannot install from.
  writeFileSync(join(path, "package-lock.json"), "{}");
  await expect(make(path, "HEAD")).rejects.toMatchObject({ name: "BenchError", code: "install_failed" });
});

test("what cannot be compared is refused by a code of its own", limit, async () => {
  const { path, git } = smallRepository();
  await expect(make(path, "no-such-branch")).rejects.toMatchObject({ name: "BenchError", code: "unknown_revision" });
  // A tree object is no commit, and an option no revision.
  await expect(make(path, "HEAD^{tree}")).rejects.toMatchObject({ code: "unknown_revision" });
  await expect(make(path, "--all")).rejects.toMatchObject({ code: "unknown_revision" });
  await expect(make(tempDir("bare"), "HEAD")).rejects.toMatchObject({ code: "no_repository" });

  writeFileSync(join(path, "package.json"), JSON.stringify({ scripts: { build: "echo line 7 is wrong; exit 3" } }));
  await expect(make(path, "HEAD")).rejects.toMatchObject({
    code: "build_failed",
    message: "the working tree does not build:\nline 7 is wrong",
  });
  git("commit", "--quiet", "--all", "--message=Break the build");
  await expect(make(path, "HEAD")).rejects.toMatchObject({
    code: "build_failed",
    message: expect.stringContaining("Break the build does not"),
  });
});
