import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { onTestFinished, type TestContext } from "vitest";
import { skipTest } from "./skips.ts";

export interface HungShare {
  /** Takes the mount away: the folder that it covered answers again. */
  release(): void;
}

/**
 * Mounts a FUSE file system at `dir` whose server never answers: every call to it waits until its caller is killed. Taken away when the test
 * ends. Skips the test where that is not permitted.
 */
export function hangAt(dir: string, context: TestContext): HungShare {
  mkdirSync(dir, { recursive: true });
  let device: number;
  try {
    device = openSync("/dev/fuse", "r+");
  } catch {
    return skipTest(context, "/dev/fuse cannot be opened here");
  }
  const options = "fd=3,rootmode=40000,user_id=0,group_id=0";
  const mounted = spawnSync("mount", ["-i", "-t", "fuse", "-o", options, "none", dir], { stdio: ["ignore", "pipe", "pipe", device] });
  if (mounted.status !== 0) {
    closeSync(device);
    return skipTest(context, `a FUSE file system cannot be mounted here: ${String(mounted.stderr ?? mounted.error)}`);
  }
  let released = false;
  const release = (): void => {
    if (released) return;
    released = true;
    spawnSync("umount", ["-l", dir]);
    // Its end of the connection: what still waits in a call gets an error.
    closeSync(device);
  };
  onTestFinished(release);
  return { release };
}
