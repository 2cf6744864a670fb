import { join } from "node:path";
import { WakefulError } from "../domain/errors.ts";
import { readRegular, replaceFile } from "../files/regular-file.ts";
import { newHostId } from "../runtime/entropy.ts";
import type { UpkeepStore } from "../store/port/upkeep.ts";

export interface OwnDataDirectoryOptions {
  readonly dataDir: string;
  readonly upkeep: Pick<UpkeepStore, "identify" | "raiseEpoch">;
  /** A person says that nothing of the other store runs any more. */
  readonly take: boolean;
}

/**
 * Proves that the data directory belongs to this store, or that it belongs to none yet: two stores would give out the same run ids in one
 * `runs/`, and each would stop the other's commands as strays.
 *
 * @throws {WakefulError} `data_dir_of_another_store`.
 */
export async function ownDataDirectory({ dataDir, upkeep, take }: OwnDataDirectoryOptions): Promise<void> {
  const path = join(dataDir, "store");
  const id = await upkeep.identify(newHostId());
  const known = (await readRegular(path))?.trim();
  if (known === id) return;
  if (known !== undefined && !take) {
    throw new WakefulError(
      "data_dir_of_another_store",
      `The data directory ${dataDir} belongs to another store. Name that store, or a data directory of its own. If the other one is given up and nothing of it runs any more, start once with --take-data-dir.`,
      { details: { dataDir } },
    );
  }
  // The other store's run folders stay: ids of this one must not meet them.
  if (known !== undefined) await upkeep.raiseEpoch("the data directory was taken over from another store");
  await replaceFile({ path, draft: `${path}.new`, text: `${id}\n` });
}
