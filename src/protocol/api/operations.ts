import { z } from "zod";
import { endpoint } from "../endpoint.ts";
import { name, rowId } from "../wire.ts";

const target = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("all") }),
  z.strictObject({ kind: z.literal("pipeline"), name }),
  z.strictObject({ kind: z.literal("queue"), name }),
  z.strictObject({ kind: z.literal("worker"), id: rowId }),
  z.strictObject({ kind: z.literal("item"), id: rowId }),
]);

const pause = endpoint({
  method: "POST",
  path: "/v1/pause",
  tag: "commands",
  summary:
    "Nothing new of the target is started; running work ends by itself. Answers how many queues, workers or items changed. A worker stays paused over restarts.",
  access: "admin",
  body: z.strictObject({ target }),
  answer: z.object({ changed: z.int() }),
});

const resume = endpoint({ ...pause, path: "/v1/resume", summary: "Undoes a pause." });

export const operationsApi = { pause, resume };
