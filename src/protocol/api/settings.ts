import { z } from "zod";
import { endpoint } from "../endpoint.ts";
import { anyJson } from "../wire.ts";

const settingsWire = z.object({
  reaper: z.record(z.string(), z.union([z.boolean(), z.number()])),
  leases: z.object({ reclaimEnabled: z.boolean(), scope: z.array(z.string()) }),
  loops: z.record(z.string(), z.object({ enabled: z.boolean() })),
});

const getSettings = endpoint({
  method: "GET",
  path: "/v1/settings",
  tag: "settings",
  summary: "The thresholds and switches in force, which loops read at each tick. The sections are those of docs/configuration.md.",
  access: "admin",
  answer: z.object({ settings: settingsWire }),
});

const changeSettings = endpoint({
  method: "POST",
  path: "/v1/settings",
  tag: "settings",
  summary:
    "Changes what it names, whole or not at all (`config_invalid` lists every mistake), from the next tick until the daemon ends. " +
    "Durations are milliseconds, or texts with a unit.",
  access: "admin",
  // The configuration checks keys and values: it reports all mistakes at once, with the nearest known key.
  body: z.record(z.string(), anyJson).meta({ example: { reaper: { deadTicks: 3 }, loops: { intake: { enabled: false } } } }),
  answer: z.object({
    settings: settingsWire,
    changes: z.array(z.object({ key: z.string(), from: anyJson, to: anyJson })),
  }),
});

export const settingsApi = { getSettings, changeSettings };
