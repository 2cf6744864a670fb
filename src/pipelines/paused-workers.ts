import type { HostId } from "../domain/ids.ts";
import type { UpkeepStore } from "../store/port/upkeep.ts";

/** What stays the same of a worker from start to start: its sessions get new ids. */
export interface NamedWorker {
  readonly name: string;
  readonly process: { readonly hostId: HostId };
}

const settingName = "paused_workers";

/**
 * Workers that claim nothing until they are resumed; what they hold they keep. Kept in the store by host and name, so that a pause outlives
 * the daemon. A daemon reads it when it starts and changes it for its own workers alone, so its memory is never behind.
 */
export class PausedWorkers {
  readonly #upkeep: Pick<UpkeepStore, "setting" | "putSetting">;
  #paused: ReadonlySet<string>;

  private constructor(upkeep: Pick<UpkeepStore, "setting" | "putSetting">, paused: ReadonlySet<string>) {
    this.#upkeep = upkeep;
    this.#paused = paused;
  }

  static async open(upkeep: Pick<UpkeepStore, "setting" | "putSetting">): Promise<PausedWorkers> {
    return new PausedWorkers(upkeep, await read(upkeep));
  }

  has(worker: NamedWorker): boolean {
    return this.#paused.has(keyOf(worker));
  }

  /** Answers whether anything changed; written before it counts. */
  async set(worker: NamedWorker, paused: boolean): Promise<boolean> {
    const key = keyOf(worker);
    if (this.#paused.has(key) === paused) return false;
    // Other daemons of the store keep their workers in the same list.
    const stored = new Set(await read(this.#upkeep));
    if (paused) stored.add(key);
    else stored.delete(key);
    await this.#upkeep.putSetting(settingName, JSON.stringify([...stored]));
    this.#paused = stored;
    return true;
  }
}

const keyOf = ({ name, process }: NamedWorker): string => `${process.hostId}/${name}`;

async function read(upkeep: Pick<UpkeepStore, "setting">): Promise<ReadonlySet<string>> {
  const text = await upkeep.setting(settingName);
  if (text === undefined) return new Set();
  const stored: unknown = JSON.parse(text);
  return new Set(Array.isArray(stored) ? stored.filter((each) => typeof each === "string") : []);
}
