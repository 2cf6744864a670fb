import { mkdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { asItemId } from "../domain/ids.ts";
import type { Instant } from "../domain/time.ts";
import { lstatOrUndefined } from "../files/move-file.ts";
import { replaceFile } from "../files/regular-file.ts";
import { readSmallFile } from "../files/small-file.ts";
import type { Deliverer } from "../notify/deliverer.ts";
import { canonicalJson } from "../pipelines/definition.ts";
import type { PipelineRegistry } from "../pipelines/registry.ts";
import type { OutboxRow } from "../store/port/records.ts";
import type { RunRow } from "../store/port/runs.ts";
import type { Store } from "../store/port/store.ts";
import type { SourceKeeper } from "./kept-source.ts";
import { type ProjectedState, projectState, type StateFacts } from "./state-projection.ts";

export interface StateFileOptions {
  readonly store: Pick<Store, "items" | "runs" | "now">;
  readonly registry: PipelineRegistry;
  /** `work/` of the data directory, absolute. */
  readonly workDir: string;
  readonly sources: SourceKeeper;
}

const stateFileName = "state.json";
/** No program of ours writes a longer state, so a longer file is not read. */
const stateBytesMax = 1_048_576;
const asidesMax = 20;

/**
 * Keeps `work/<dir>/state.json` in the compatible form, from the store's present state rather than the entry's. Once the item has ended,
 * also returns its source file to its owner.
 */
export function createStateFileDeliverer(options: StateFileOptions): Deliverer {
  const { store, registry, workDir, sources } = options;
  return {
    kind: "state-file",
    deliver: async (entry) => {
      const item = await store.items.get(asItemId(itemIdOf(entry)));
      // Retention removed the item, so nothing is left to write.
      if (item === undefined) return;
      const itemDir = join(workDir, item.dir);
      const there = await lstatOrUndefined(itemDir);
      if (there === undefined) {
        // Retention removed the work directory of a finished item.
        if (item.finishedAt !== null) return;
        await mkdir(itemDir, { recursive: true, mode: 0o700 });
      } else if (!there.isDirectory()) throw new Error(`${itemDir} is not a folder: state.json of item ${item.id} cannot be written there`);
      const visits = await store.items.visits(item.id);
      const jobs = (await store.items.jobs(item.id)).filter((job) => job.visitId === item.visitId);
      let lastRun: RunRow | undefined;
      for (const job of jobs.toReversed()) {
        lastRun = (await store.runs.ofJob(job.id)).at(-1);
        if (lastRun !== undefined) break;
      }
      const profile = registry.get(item.pipeline)?.definition.intake?.profile;
      const facts: StateFacts = { item, visits, job: jobs.at(-1), lastRun, profile };
      await writeStateFile({ itemDir, projected: projectState(facts), now: store.now() });
      if (item.finishedAt !== null) await sources.keep(item);
    },
  };
}

function itemIdOf(entry: OutboxRow): number {
  const id = Number(entry.key);
  if (!Number.isSafeInteger(id)) throw new Error(`the outbox entry ${entry.id} names no item: ${JSON.stringify(entry.key)}`);
  return id;
}

/**
 * Updates our fields of the stored state and keeps all others; writes only changes. Anything else in its place (a folder, no JSON, far too
 * long) is put aside; a link is replaced, never followed.
 */
async function writeStateFile(options: {
  readonly itemDir: string;
  readonly projected: ProjectedState;
  readonly now: Instant;
}): Promise<"written" | "unchanged"> {
  const { itemDir, projected, now } = options;
  const path = join(itemDir, stateFileName);
  const stored = await readStored(path);
  const next = { ...stored, ...projected };
  if (stored !== undefined && canonicalJson(next) === canonicalJson(stored)) return "unchanged";
  await replaceFile({ path, text: `${JSON.stringify({ ...next, updatedAt: compatibleTime(now) }, null, 2)}\n` });
  return "written";
}

/** ISO 8601 in UTC, to the second, as programs that read these files expect it. */
export const compatibleTime = (at: Instant): string => `${new Date(at).toISOString().slice(0, 19)}Z`;

async function readStored(path: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  const found = await readSmallFile(path, stateBytesMax);
  if (found.kind === "absent") return undefined;
  if (found.kind === "text") {
    const stored = parsedObject(found.text);
    if (stored !== undefined) return stored;
  }
  if ((await lstatOrUndefined(path))?.isSymbolicLink() !== true) await putAside(path);
  return undefined;
}

function parsedObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    // Torn by another program, or not JSON: the caller puts it aside.
    return undefined;
  }
}

async function putAside(path: string): Promise<void> {
  for (let number = 1; number <= asidesMax; number++) {
    const aside = `${path}.bad${number === 1 ? "" : number}`;
    if ((await lstatOrUndefined(aside)) !== undefined) continue;
    await rename(path, aside);
    return;
  }
  throw new Error(`${path} is spoiled, and ${asidesMax} spoiled ones lie beside it already: look who writes there`);
}
