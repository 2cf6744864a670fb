import { z } from "zod";
import { endpoint } from "../endpoint.ts";
import { pageLimit, wordList, workerStates } from "../wire.ts";
import { workerWire } from "./rows.ts";

const listWorkers = endpoint({
  method: "GET",
  path: "/v1/workers",
  tag: "workers",
  summary: "Sessions of workers; the live and draining ones unless told.",
  access: "admin",
  query: z.strictObject({ state: wordList(workerStates).optional(), limit: pageLimit }),
  answer: z.object({ workers: z.array(workerWire) }),
});

const listSlots = endpoint({
  method: "GET",
  path: "/v1/slots",
  tag: "slots",
  summary: "Concurrency limits and how much of them is in use.",
  access: "admin",
  answer: z.object({ slots: z.array(z.object({ key: z.string(), capacity: z.int(), used: z.int() })) }),
});

export const workersApi = { listWorkers, listSlots };
