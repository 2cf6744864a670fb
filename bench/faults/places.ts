import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Paths that a person configured and that are not the daemon's own. */
export interface ForeignPlaces {
  /** A file that a stage's environment is read from. */
  readonly secret: string;
  /** A disk of its own with the program of a stage. */
  readonly share: string;
  /** A folder with a secret that may come to lie on a share that never answers. */
  readonly hung: string;
}

export const placesOf = (folder: string): ForeignPlaces => ({
  secret: join(folder, "secret"),
  share: join(folder, "share"),
  hung: join(folder, "hung"),
});

/** Makes all of them; `mounted`: the share is mounted. */
export function makePlaces(folder: string, { mounted }: { readonly mounted: boolean }): void {
  const { secret, share, hung } = placesOf(folder);
  writeFileSync(secret, "secret\n", { mode: 0o600 });
  mkdirSync(share);
  mkdirSync(hung);
  writeFileSync(join(hung, "secret"), "secret\n", { mode: 0o600 });
  if (mounted) mountShare(folder);
  else layProgram(folder);
}

/** What is on the share is there again. */
export function mountShare(folder: string): void {
  const { share } = placesOf(folder);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "wakeful-bench", share]);
  layProgram(folder);
}

function layProgram(folder: string): void {
  const work = join(folder, "work.sh");
  writeFileSync(join(placesOf(folder).share, "work"), `#!/bin/sh\n. ${work}\n`, { mode: 0o700 });
}

/** Lazily, where somebody still has a file open. */
export function unmount(folder: string): void {
  try {
    execFileSync("umount", ["-l", folder], { stdio: "ignore" });
  } catch {
    // It is not mounted any more.
  }
}
