import { z } from "zod";
import { endpoint } from "../endpoint.ts";
import { anyJson, done, idParams, itemStates, name, nameParams, pageLimit, pathId, reasonText, rowId, wordList } from "../wire.ts";
import { itemWire, jobWire, runWire, visitWire } from "./rows.ts";

const tag = "items";

const listItems = endpoint({
  method: "GET",
  path: "/v1/items",
  tag,
  summary: "Items, newest first. `key` with `pipeline` finds one by its name.",
  access: "admin",
  query: z.strictObject({
    pipeline: name.optional(),
    key: name.optional(),
    state: wordList(itemStates).optional(),
    before: pathId.optional(),
    limit: pageLimit,
  }),
  answer: z.object({ items: z.array(itemWire) }),
});

const getItem = endpoint({
  method: "GET",
  path: "/v1/items/:id",
  tag,
  summary: "An item with its visits, jobs and runs.",
  access: "admin",
  params: idParams,
  answer: z.object({ item: itemWire, visits: z.array(visitWire), jobs: z.array(jobWire), runs: z.array(runWire) }),
});

const submitItem = endpoint({
  method: "POST",
  path: "/v1/pipelines/:name/items",
  tag,
  summary: "Adds an item. The same key again answers the item that exists, with `created: false`.",
  access: "admin",
  params: nameParams,
  body: z.strictObject({
    key: z.string().optional().meta({ description: "Unique in its pipeline; at most 200 bytes, one file name. Made up when absent." }),
    input: anyJson.optional(),
    label: z.string().max(500).optional(),
    repo: z.string().max(500).optional(),
    branch: z.string().max(500).optional(),
  }),
  answer: z.object({ item: itemWire, created: z.boolean() }),
});

const retryItem = endpoint({
  method: "POST",
  path: "/v1/items/:id/retry",
  tag,
  summary: "A failed item again, in the stage where it failed: same visit, new job, fresh budget.",
  access: "admin",
  params: idParams,
  body: z.strictObject({}).optional(),
  answer: z.object({ jobId: rowId }),
});

const rerunItem = endpoint({
  method: "POST",
  path: "/v1/items/:id/rerun",
  tag,
  summary: "An item again from a stage (its first unless told): a new visit; visits of that and later stages no longer count.",
  access: "admin",
  params: idParams,
  body: z.strictObject({ from: name.optional() }).optional(),
  answer: z.object({ jobId: rowId }),
});

const cancelItem = endpoint({
  method: "POST",
  path: "/v1/items/:id/cancel",
  tag,
  summary: "Ends an item; its running work is stopped.",
  access: "admin",
  params: idParams,
  body: z.strictObject({ reason: reasonText.optional() }).optional(),
  answer: done,
});

const moveItem = endpoint({
  method: "POST",
  path: "/v1/items/:id/move",
  tag,
  summary:
    "Gives an item to the daemon of another data directory, which has its files now. Refused while it runs, or its daemon lives and will run it.",
  access: "admin",
  params: idParams,
  body: z.strictObject({ host: z.string().max(4096).meta({ description: "The daemon's place (machine:directory) or its host id." }) }),
  answer: z.object({ host: z.string(), place: z.string() }),
});

export const itemsApi = { listItems, getItem, submitItem, retryItem, rerunItem, cancelItem, moveItem };
