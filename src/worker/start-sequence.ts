import { join } from "node:path";
import { WakefulError } from "../domain/errors.ts";
import { readRegular, replaceFile } from "../files/regular-file.ts";
import type { UpkeepStore } from "../store/port/upkeep.ts";

/**
 * Counts this start in the store and then in `dataDir/start`. A store that is behind the file, or has starts without a file, was restored:
 * its epoch rises, so that no run id is issued twice.
 */
export async function countStart(
  dataDir: string,
  upkeep: Pick<UpkeepStore, "recordStart">,
): Promise<{ readonly startSeq: number; readonly epochRaised: boolean }> {
  const path = join(dataDir, "start");
  const counted = await upkeep.recordStart(await readStart(path));
  await replaceFile({ path, draft: `${path}.new`, text: `${counted.startSeq}\n` });
  return counted;
}

async function readStart(path: string): Promise<number | undefined> {
  const text = await readRegular(path);
  if (text === undefined) return undefined;
  const value = Number(text.trim());
  if (!/^\d{1,15}\n?$/.test(text)) {
    throw new WakefulError(
      "config_invalid",
      `${path} does not hold a number. It tells a restored store from the newest one; remove it to have the next start count as a restore.`,
    );
  }
  return value;
}
