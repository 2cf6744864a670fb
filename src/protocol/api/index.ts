import type { Endpoint } from "../endpoint.ts";
import { itemsApi } from "./items.ts";
import { jobsApi } from "./jobs.ts";
import { leasesApi } from "./leases.ts";
import { loopsApi } from "./loops.ts";
import { operationsApi } from "./operations.ts";
import { pipelinesApi } from "./pipelines.ts";
import { recordsApi } from "./records.ts";
import { runSessionsApi } from "./run-sessions.ts";
import { runsApi } from "./runs.ts";
import { settingsApi } from "./settings.ts";
import { statusApi } from "./status.ts";
import { workersApi } from "./workers.ts";

/** Every call of the API by name. */
export const api = {
  ...itemsApi,
  ...jobsApi,
  ...runsApi,
  ...runSessionsApi,
  ...leasesApi,
  ...statusApi,
  ...pipelinesApi,
  ...loopsApi,
  ...workersApi,
  ...operationsApi,
  ...recordsApi,
  ...settingsApi,
} as const satisfies Record<string, Endpoint>;
