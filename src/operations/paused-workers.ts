import type { HostId } from "../domain/ids.ts";
import { asInstant, type Instant } from "../domain/time.ts";
import type { UpkeepStore } from "../store/port/upkeep.ts";

/** What identifies a worker across starts: its sessions get new ids. */
export interface NamedWorker {
  readonly name: string;
  readonly process: { readonly hostId: HostId };
}

/** The names of a daemon's workers; `folder` is the last part of its data directory's path. */
export const daemonWorkers = (folder: string) => ({ commands: `commands@${folder}`, handlers: `handlers@${folder}` });

/** Whether a worker is a daemon's and obeys a pause. Workers of applications and of `wakeful run` never read it. */
export const isDaemonWorker = ({ name }: Pick<NamedWorker, "name">): boolean => /^(commands|handlers)@/.test(name);

const settingName = "paused_workers";

/**
 * Workers that claim nothing until they are resumed; they keep what they hold. Stored by host and name, so that a pause outlives the daemon
 * and reaches it from any other of the store.
 */
export class PausedWorkers {
  readonly #upkeep: Pick<UpkeepStore, "setting" | "putSetting">;
  /** Paused since when; null where an older version stored no time. */
  #paused: ReadonlyMap<string, Instant | null>;

  private constructor(upkeep: Pick<UpkeepStore, "setting" | "putSetting">, paused: ReadonlyMap<string, Instant | null>) {
    this.#upkeep = upkeep;
    this.#paused = paused;
  }

  static async open(upkeep: Pick<UpkeepStore, "setting" | "putSetting">): Promise<PausedWorkers> {
    return new PausedWorkers(upkeep, await read(upkeep));
  }

  has(worker: NamedWorker): boolean {
    return this.#paused.has(keyOf(worker));
  }

  /** Undefined: not paused. Null: paused since an unknown time. */
  since(worker: NamedWorker): Instant | null | undefined {
    return this.#paused.get(keyOf(worker));
  }

  /** Reads what other daemons of the store wrote. */
  async refresh(): Promise<void> {
    this.#paused = await read(this.#upkeep);
  }

  /**
   * Stores a pause, then applies it; returns whether anything changed. Of two daemons that store one at the same instant, one may be lost.
   */
  async set(worker: NamedWorker, { paused, at }: { readonly paused: boolean; readonly at: Instant }): Promise<boolean> {
    const key = keyOf(worker);
    const stored = new Map(await read(this.#upkeep));
    const changes = stored.has(key) !== paused;
    if (paused && changes) stored.set(key, at);
    else if (!paused) stored.delete(key);
    if (changes) await this.#upkeep.putSetting(settingName, JSON.stringify([...stored].map(([each, since]) => ({ worker: each, since }))));
    this.#paused = stored;
    return changes;
  }
}

const keyOf = ({ name, process }: NamedWorker): string => `${process.hostId}/${name}`;

async function read(upkeep: Pick<UpkeepStore, "setting">): Promise<ReadonlyMap<string, Instant | null>> {
  const text = await upkeep.setting(settingName);
  const stored: unknown = text === undefined ? [] : JSON.parse(text);
  return new Map(Array.isArray(stored) ? stored.flatMap(entryOf) : []);
}

function entryOf(stored: unknown): readonly (readonly [string, Instant | null])[] {
  // The first version wrote names alone.
  if (typeof stored === "string") return [[stored, null]];
  if (typeof stored !== "object" || stored === null || !("worker" in stored) || typeof stored.worker !== "string") return [];
  return [[stored.worker, "since" in stored && typeof stored.since === "number" ? asInstant(stored.since) : null]];
}
