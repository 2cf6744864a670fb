import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { missing } from "./needs.ts";
import { unmount } from "./places.ts";

/** Small disks in memory below a world's folder, so that they can be filled without harm to anybody. */
export class Disks {
  readonly #mounts: string[] = [];

  /** Undefined: nothing can be mounted here, so the world lies on the disk that there is. */
  static mounted(): Disks | undefined {
    return missing("root") === undefined && missing("mount") === undefined ? new Disks() : undefined;
  }

  /** Mounts a disk on this folder, which is made. */
  mount(folder: string, options: string): void {
    mkdirSync(folder, { recursive: true });
    execFileSync("mount", ["-t", "tmpfs", "-o", options, "wakeful-bench", folder]);
    this.#mounts.unshift(folder);
  }

  /** Shows one folder at the place of another too. */
  bind(from: string, to: string): void {
    mkdirSync(to, { recursive: true });
    execFileSync("mount", ["--bind", from, to]);
    this.#mounts.unshift(to);
  }

  /** Lazily, where somebody still has a file open. */
  unmountAll(): void {
    for (const folder of this.#mounts.splice(0)) unmount(folder);
  }
}
