/**
 * A process that opens a store, prints the outcome as one line of JSON, and holds the store until its stdin ends. `node --import tsx
 * store-process.ts <url> [read-only]`
 */
import { isWakefulError, messageOf } from "../../src/domain/errors.ts";
import { asInstant } from "../../src/domain/time.ts";
import { openReadOnly, openStore } from "../../src/store/open-store.ts";

const [url = "", mode] = process.argv.slice(2);
const clock = { now: () => asInstant(Date.UTC(2026, 0, 1)) };
const tell = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

try {
  const store = mode === "read-only" ? await openReadOnly({ url, clock }) : await openStore({ url, clock });
  tell({ opened: true, setting: (await store.upkeep.setting("mark")) ?? null });
  process.stdin.resume();
  process.stdin.once("end", () => void store.close());
} catch (thrown) {
  tell({ opened: false, code: isWakefulError(thrown) ? thrown.code : null, message: messageOf(thrown) });
}
