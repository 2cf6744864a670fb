import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { faketimeLibrary } from "../../test/support/faketime.ts";

/** What a machine may lack for a fault. */
export type Need = "root" | "mount" | "fuse" | "flock" | "faketime";

const looks: Readonly<Record<Need, () => string | undefined>> = {
  root: () => (process.getuid?.() === 0 ? undefined : "only root can do that"),
  mount: () => (succeeds("unshare", ["-m", "mount", "-t", "tmpfs", "none", "/tmp"]) ? undefined : "nothing can be mounted here"),
  fuse: () => (existsSync("/dev/fuse") ? undefined : "there is no /dev/fuse"),
  faketime: () => (faketimeLibrary === undefined ? "libfaketime is not installed" : undefined),
  flock: () => (succeeds("flock", ["--version"]) ? undefined : "the program flock is not installed"),
};

const answers = new Map<Need, string | undefined>();

/** What is missing here, in words; undefined: nothing. Looked for once. */
export function missing(need: Need): string | undefined {
  if (!answers.has(need)) answers.set(need, looks[need]());
  return answers.get(need);
}

/** Why this fault cannot be made here; undefined: it can. */
export function whyNotHere({ needs }: { readonly needs: readonly Need[] }): string | undefined {
  for (const need of needs) {
    const why = missing(need);
    if (why !== undefined) return why;
  }
  return undefined;
}

const succeeds = (file: string, args: readonly string[]): boolean => spawnSync(file, args, { stdio: "ignore" }).status === 0;
