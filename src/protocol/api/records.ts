import { z } from "zod";
import { endpoint } from "../endpoint.ts";
import { done, idParams, instant, maybeInstant, name, pageLimit, pathId, queryFlag } from "../wire.ts";
import { actionWire, duplicateDecisions, duplicateWire } from "./rows.ts";

const listActions = endpoint({
  method: "GET",
  path: "/v1/actions",
  tag: "records",
  summary: "The record of changes that need explaining, newest first (`after`: oldest first from there).",
  access: "admin",
  query: z.strictObject({
    job: pathId.optional(),
    run: pathId.optional(),
    item: pathId.optional(),
    worker: pathId.optional(),
    lease: name.optional(),
    before: pathId.optional(),
    after: pathId.optional(),
    limit: pageLimit,
  }),
  answer: z.object({ actions: z.array(actionWire) }),
});

const listDuplicates = endpoint({
  method: "GET",
  path: "/v1/duplicates",
  tag: "records",
  summary: "Files that are items already and wait for a decision, or had one.",
  access: "admin",
  query: z.strictObject({ limit: pageLimit }),
  answer: z.object({ duplicates: z.array(duplicateWire) }),
});

const decideDuplicate = endpoint({
  method: "POST",
  path: "/v1/duplicates/:id/decide",
  tag: "records",
  summary: "Decides what becomes of a held file. `conflict` when it was decided before.",
  access: "admin",
  params: idParams,
  body: z.strictObject({ decision: z.enum(duplicateDecisions) }),
  answer: done,
});

export const storyLine = z.object({
  at: maybeInstant,
  /** `past`: it happened. `now`: how it stands, and what it waits for. `next`: what will happen without anybody's doing. */
  tense: z.enum(["past", "now", "next"]),
  text: z.string(),
});
export type StoryLine = z.output<typeof storyLine>;

export const storyWire = z.object({ subject: z.string(), headline: z.string(), now: instant, lines: z.array(storyLine), text: z.string() });
export type StoryWire = z.output<typeof storyWire>;

const why = endpoint({
  method: "GET",
  path: "/v1/why",
  tag: "records",
  summary:
    "The story of one job, item or run: what happened, on what evidence, what it waits for, what comes next. Terminal control characters are removed unless `raw`.",
  access: "admin",
  query: z
    .strictObject({ job: pathId.optional(), item: pathId.optional(), run: pathId.optional(), raw: queryFlag.optional() })
    .refine(
      ({ job, item, run }) => [job, item, run].filter((id) => id !== undefined).length === 1,
      "name exactly one of job, item and run",
    ),
  answer: storyWire,
});

const events = endpoint({
  method: "GET",
  path: "/v1/events",
  tag: "events",
  summary: "Live events as server-sent events. `Last-Event-ID` resumes; what could not be kept is told by a `gap` event.",
  access: "admin",
  query: z.strictObject({
    names: z.string().max(1000).optional().meta({ description: "Only these, separated by commas; a trailing `*` stands for any ending." }),
  }),
  answer: z.string().meta({ description: "text/event-stream" }),
});

export const recordsApi = { listActions, listDuplicates, decideDuplicate, why, events };
