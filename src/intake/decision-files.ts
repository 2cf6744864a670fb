import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { hasCode } from "../domain/errors.ts";
import { addMs, type DurationMs, type Instant } from "../domain/time.ts";
import type { DataPaths } from "../files/data-paths.ts";
import { readSmallFile } from "../files/small-file.ts";
import type { RaiseAlert } from "../notify/raise-alert.ts";
import type { DuplicateRow } from "../store/port/records.ts";
import type { Store } from "../store/port/store.ts";

type Decision = NonNullable<DuplicateRow["decision"]>;

/** What `hold/duplicates/<key>/decision.json` may say in the compatible form, in our words. */
const actions: ReadonlyMap<unknown, Decision> = new Map<unknown, Decision>([
  ["USE_EXISTING_RESULT", "use_existing"],
  ["DISCARD", "discard"],
  ["FORCE_REPROCESS", "reprocess"],
]);

const decisionBytesMax = 65_536;
/** Most keys read in one tick. */
const keysMax = 500;
const undecidedMax = 10_000;
/** How often the folder of held duplicates is looked for while it is missing: the first held file creates it. */
const absentLookMs: DurationMs = 10_000;
/** How long a half-written file may stay unreadable before it counts as broken. */
const tornPatienceMs: DurationMs = 5_000;

export interface DecisionFilesOptions {
  readonly store: Pick<Store, "duplicates">;
  readonly alert: RaiseAlert;
  readonly paths: DataPaths;
}

/** Reads decisions that other programs leave as files beside held duplicates. */
export class DecisionFiles {
  readonly #options: DecisionFilesOptions;
  readonly #tornSince = new Map<string, Instant>();
  #turn = 0;
  #lookAt: Instant | undefined;

  constructor(options: DecisionFilesOptions) {
    this.#options = options;
  }

  /** Records every readable decision in the store and removes its file; returns how many duplicates were decided. */
  async read(now: Instant): Promise<number> {
    if (this.#lookAt !== undefined && now < this.#lookAt) return 0;
    this.#lookAt = undefined;
    let decided = 0;
    for (const key of await this.#keys(now)) decided += await this.#readOne(key, now);
    return decided;
  }

  /** A file was held, so a decision may follow. */
  expect(): void {
    this.#lookAt = undefined;
  }

  async #readOne(key: string, now: Instant): Promise<number> {
    const path = join(this.#options.paths.dataDir, "hold", "duplicates", key, "decision.json");
    const found = await readSmallFile(path, decisionBytesMax);
    if (found.kind === "absent") {
      this.#tornSince.delete(key);
      return 0;
    }
    const decision = found.kind === "text" ? decisionIn(found.text) : undefined;
    if (decision === undefined) {
      await this.#setAside({ key, path, why: found.kind === "odd" ? found.why : "it names no action that is known", now });
      return 0;
    }
    this.#tornSince.delete(key);
    const { duplicates } = this.#options.store;
    const waiting = (await duplicates.list(undecidedMax)).filter((row) => row.key === key && row.decision === null);
    let decided = 0;
    for (const row of waiting) if (await duplicates.decide(row.id, decision, "decision.json")) decided += 1;
    await rm(path, { force: true });
    return decided;
  }

  async #setAside({
    key,
    path,
    why,
    now,
  }: {
    readonly key: string;
    readonly path: string;
    readonly why: string;
    readonly now: Instant;
  }): Promise<void> {
    const since = this.#tornSince.get(key) ?? now;
    this.#tornSince.set(key, since);
    if (now - since < tornPatienceMs) return;
    this.#tornSince.delete(key);
    await rm(`${path}.invalid`, { recursive: true, force: true });
    await rename(path, `${path}.invalid`);
    const title = `The decision about duplicate ${key} cannot be read (${why}); it is kept as decision.json.invalid and the duplicate still waits`;
    await this.#options.alert({ cause: `intake.decision_invalid:${key}`, title, details: { path, known: [...actions.keys()] } });
  }

  async #keys(now: Instant): Promise<readonly string[]> {
    try {
      const entries = await readdir(join(this.#options.paths.dataDir, "hold", "duplicates"), { withFileTypes: true });
      const keys = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
      if (keys.length <= keysMax) return keys;
      const start = this.#turn % keys.length;
      this.#turn = start + keysMax;
      return [...keys.slice(start), ...keys.slice(0, start)].slice(0, keysMax);
    } catch (thrown) {
      if (!hasCode(thrown, "ENOENT")) throw thrown;
      this.#lookAt = addMs(now, absentLookMs);
      return [];
    }
  }
}

function decisionIn(text: string): Decision | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && "action" in value ? actions.get(value.action) : undefined;
  } catch {
    // Half written, or not JSON: the caller waits a little before it reports that.
    return undefined;
  }
}
