import { join } from "node:path";
import { WakefulError } from "../domain/errors.ts";
import { readRegular, replaceFile } from "../files/regular-file.ts";
import { newHostId } from "../runtime/entropy.ts";
import type { UpkeepStore } from "../store/port/upkeep.ts";

export interface OwnDataDirectoryOptions {
  readonly dataDir: string;
  /** Where the store is, without a password. */
  readonly place: string;
  readonly upkeep: Pick<UpkeepStore, "identify" | "raiseEpoch">;
  /** A person says that nothing of the other store runs any more. */
  readonly take: boolean;
}

/**
 * Proves that the data directory belongs to this store, or to none yet: two stores would give out the same run ids in one `runs/`. A new
 * store in the place of a lost one is its heir.
 *
 * @throws {WakefulError} `data_dir_of_another_store`.
 */
export async function ownDataDirectory({ dataDir, place, upkeep, take }: OwnDataDirectoryOptions): Promise<void> {
  const path = join(dataDir, "store");
  const candidate = newHostId();
  const id = await upkeep.identify(candidate);
  const [known, knownPlace] = ((await readRegular(path)) ?? "").split("\n");
  if (known === id && knownPlace === place) return;
  const another = known !== "" && known !== id;
  const isHeir = id === candidate && knownPlace === place;
  if (another && !take && !isHeir) {
    throw new WakefulError(
      "data_dir_of_another_store",
      `The data directory ${dataDir} belongs to another store. Name that store, or a data directory of its own. If the other one is given up and nothing of it runs any more, start once with --take-data-dir.`,
      { details: { dataDir } },
    );
  }
  // The other store's run folders stay: ids of this one must not meet them.
  if (another && !isHeir) await upkeep.raiseEpoch("the data directory was taken over from another store");
  await replaceFile({ path, draft: `${path}.new`, text: `${id}\n${place}\n` });
}
