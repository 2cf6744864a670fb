import { copyFileSync, existsSync, lstatSync, mkdirSync, readFileSync, readlinkSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { BenchError } from "../bench-error.ts";
import { buildCheckout, type Checkout, installCheckout } from "../build-checkout.ts";
import { type ChildEnd, runChild } from "../child.ts";

export interface Sides {
  readonly base: Checkout;
  readonly tree: Checkout;
}

export interface SidesOptions {
  readonly repository: string;
  readonly revision: string;
  /** An empty folder, removed by whoever made it. */
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

/**
 * Builds copies of a revision and of the working tree (with uncommitted files, without ignored ones). Copies, so that nobody's edits change
 * what is measured, and both start from the same place.
 *
 * @throws {BenchError} `no_repository`, `unknown_revision`, `install_failed`, `build_failed`
 */
export async function makeSides({ repository, revision, folder, signal, say }: SidesOptions): Promise<Sides> {
  const git = (...args: string[]): Promise<ChildEnd> => runChild("git", args, { cwd: repository, signal, timeoutMs: gitWithinMs });
  const inside = await git("rev-parse", "--is-inside-work-tree");
  if (inside.out.trim() !== "true") throw new BenchError("no_repository", `${repository} is no working tree of git: ${inside.err.trim()}`);
  const commit = (await git("rev-parse", "--verify", "--quiet", "--end-of-options", `${revision}^{commit}`)).out.trim();
  if (commit === "") throw new BenchError("unknown_revision", `There is no commit ${revision}.`);
  const subject = (await git("show", "--no-patch", "--format=%h %s", commit)).out.trim();

  const base = { name: subject, folder: join(folder, "base") };
  const tree = { name: "the working tree", folder: join(folder, "tree") };
  for (const side of [base, tree]) mkdirSync(side.folder);
  const archive = join(folder, "base.tar");
  const unpack = [
    await git("archive", "--format=tar", `--output=${archive}`, commit),
    await runChild("tar", ["-xf", archive, "-C", base.folder], { cwd: folder, signal, timeoutMs: gitWithinMs }),
  ];
  const failed = unpack.find(({ code }) => code !== 0);
  if (failed !== undefined) throw new Error(`${subject} cannot be unpacked: ${failed.err.trim()}`);
  await copyTree(repository, tree.folder, git);
  for (const side of [base, tree]) {
    if (lockOf(side.folder) === lockOf(repository)) symlinkSync(join(repository, "node_modules"), join(side.folder, "node_modules"));
    else {
      say(`installing the packages of ${side.name}: its package-lock.json is another`);
      await installCheckout(side, signal);
    }
    say(`building ${side.name}`);
    await buildCheckout(side, signal);
  }
  return { base, tree };
}

const gitWithinMs = 120_000;

type Git = (...args: string[]) => Promise<ChildEnd>;

async function copyTree(repository: string, folder: string, git: Git): Promise<void> {
  const { out } = await git("ls-files", "-z", "--cached", "--others", "--exclude-standard");
  for (const path of new Set(out.split("\0").filter(Boolean))) {
    const [from, to] = [join(repository, path), join(folder, path)];
    const stats = lstatSync(from, { throwIfNoEntry: false });
    // Deleted, and not committed yet.
    if (stats === undefined) continue;
    mkdirSync(dirname(to), { recursive: true });
    if (stats.isSymbolicLink()) symlinkSync(readlinkSync(from), to);
    else if (stats.isFile()) copyFileSync(from, to);
  }
}

function lockOf(checkout: string): string {
  const path = join(checkout, "package-lock.json");
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}
