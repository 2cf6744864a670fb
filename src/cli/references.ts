import { WakefulError } from "../domain/errors.ts";
import type { PauseTarget } from "../operations/operations.ts";
import { api } from "../protocol/api/index.ts";
import type { Client } from "../protocol/client.ts";

/** What an argument names. */
export type Reference =
  | { readonly kind: "item" | "job" | "run"; readonly id: number }
  | { readonly kind: "itemKey"; readonly pipeline: string; readonly key: string };

const forms = "item:4, job:7, run:9, or an item as pipeline/key";

/** Reads `item:4`, `job:7`, `run:9` and `comics/batman`; a bare number is of the kind that the command is mostly about. */
export function parseReference(text: string, bare: "item" | "job"): Reference {
  const numbered = /^(?:(item|job|run):)?([1-9][0-9]{0,15})$/.exec(text);
  const id = Number(numbered?.[2]);
  if (numbered !== null && Number.isSafeInteger(id)) return { kind: (numbered[1] as "item" | "job" | "run" | undefined) ?? bare, id };
  const keyed = /^([A-Za-z0-9][\w-]*)\/(.+)$/.exec(text);
  if (keyed !== null) return { kind: "itemKey", pipeline: keyed[1] ?? "", key: keyed[2] ?? "" };
  throw new WakefulError("bad_request", `"${text}" names nothing: write ${forms}.`);
}

/** The same with an item's id looked up by its key. */
export async function resolveReference(
  client: Client,
  reference: Reference,
): Promise<{ readonly kind: "item" | "job" | "run"; readonly id: number }> {
  if (reference.kind !== "itemKey") return reference;
  const { pipeline, key } = reference;
  const { items } = await client.call(api.listItems, { query: { pipeline, key } });
  const [item] = items;
  if (item === undefined)
    throw new WakefulError("not_found", `Pipeline "${pipeline}" has no item "${key}".`, { details: { pipeline, key } });
  return { kind: "item", id: item.id };
}

/** The item that an argument names: itself, or the one that the job or run is of. */
export async function itemOf(client: Client, text: string): Promise<number> {
  const { kind, id } = await resolveReference(client, parseReference(text, "item"));
  if (kind === "item") return id;
  const jobId = kind === "job" ? id : (await client.call(api.getRun, { params: { id } })).run.jobId;
  const { job } = await client.call(api.getJob, { params: { id: jobId } });
  if (job.itemId === null) throw new WakefulError("bad_request", `Job ${jobId} is a plain task and belongs to no item.`);
  return job.itemId;
}

const pausable = "pipeline:NAME, queue:NAME, worker:3, or item:4";

/** What `pause` and `resume` take. */
export async function pauseTarget(
  client: Client,
  { what, all }: { readonly what: string | undefined; readonly all: boolean },
): Promise<PauseTarget> {
  if (all === (what !== undefined)) throw new WakefulError("bad_request", `Name one thing (${pausable}), or --all.`);
  if (what === undefined) return { kind: "all" };
  const named = /^(pipeline|queue):(.+)$/.exec(what);
  if (named !== null) return { kind: named[1] as "pipeline" | "queue", name: named[2] ?? "" };
  const worker = /^worker:([1-9][0-9]{0,14})$/.exec(what);
  if (worker !== null) return { kind: "worker", id: Number(worker[1]) };
  if (!/[:/]|^[0-9]+$/.test(what))
    throw new WakefulError("bad_request", `"${what}" names nothing that can be paused: write ${pausable}, or --all.`);
  return { kind: "item", id: await itemOf(client, what) };
}
