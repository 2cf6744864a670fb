import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { hasCode } from "../domain/errors.ts";
import type { PathAccess, PathOperation } from "./foreign/path-operation.ts";

/**
 * On which device folders were when this process began. A share that is not mounted leaves an empty folder of another device behind, and
 * what is missing there proves nothing.
 */
export class PathDevices {
  readonly #access: PathAccess;
  readonly #devices = new Map<string, number>();
  /** Resolves when every folder that answers was looked at. */
  readonly looked: Promise<unknown>;

  /**
   * Looks at each folder once, and waits for none: a share may not answer. A folder that is not there counts as on the device of the nearest
   * one above it.
   */
  constructor(access: PathAccess, folders: Iterable<string> = []) {
    this.#access = access;
    this.looked = Promise.all(
      [...new Set(folders)].map(async (folder) => {
        const device = await this.#deviceOf(folder);
        if (device !== undefined) this.#devices.set(folder, device);
      }),
    );
  }

  /** Whether one of them is surely on another device now. A folder that was not looked at is not. */
  async areElsewhere(folders: Iterable<string>): Promise<boolean> {
    for (const folder of folders) {
      const before = this.#devices.get(folder);
      const now = before === undefined ? undefined : await this.#deviceOf(folder);
      if (now !== undefined && now !== before) return true;
    }
    return false;
  }

  /** Undefined: it cannot be looked at. */
  async #deviceOf(folder: string): Promise<number | undefined> {
    return await this.#access.do(lookUpDevice, folder, { paths: [folder] }).catch(() => undefined);
  }
}

/** On which device a folder is, or would be. Undefined: it cannot be looked at. */
export const lookUpDevice: PathOperation<string, number | undefined> = {
  name: "look-up-device",
  run: async (folder) => {
    for (let at = folder; ; at = dirname(at)) {
      try {
        return (await stat(at)).dev;
      } catch (thrown) {
        if (!hasCode(thrown, "ENOENT", "ENOTDIR") || at === dirname(at)) return undefined;
      }
    }
  },
};
