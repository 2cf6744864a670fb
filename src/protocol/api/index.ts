import type { Endpoint } from "../endpoint.ts";
import * as fleet from "./fleet.ts";
import * as items from "./items.ts";
import * as jobs from "./jobs.ts";
import * as records from "./records.ts";
import * as runSessions from "./run-sessions.ts";
import * as runs from "./runs.ts";
import * as settings from "./settings.ts";
import * as status from "./status.ts";

const { cancelItem, getItem, listItems, rerunItem, retryItem, submitItem } = items;
const { cancelJob, enqueueJob, getJob, listJobs, listRunningJobs, retryJob, unholdJob } = jobs;
const { beatRun, getRun, listRuns, progressRun, runLogs } = runs;
const { abandonRunSession, commandOfRunSession, endRunSession, openRunSession, renewRunSession, startRunSession } = runSessions;
const { abandonLease, acquireLease, getDaemon, getPipeline, listLeases, listLoops, listPipelines, listSlots, listWorkers } = fleet;
const { pause, releaseLease, renewLease, resume, runLoop } = fleet;
const { decideDuplicate, events, listActions, listDuplicates, why } = records;
const { changeSettings, getSettings } = settings;
const { checkStore, healthz, metrics, openapi, queueStatus, readyz } = status;

/** Every call of the API by name. */
export const api = {
  cancelItem,
  getItem,
  listItems,
  rerunItem,
  retryItem,
  submitItem,
  cancelJob,
  enqueueJob,
  getJob,
  listJobs,
  listRunningJobs,
  retryJob,
  unholdJob,
  beatRun,
  getRun,
  listRuns,
  progressRun,
  runLogs,
  abandonRunSession,
  commandOfRunSession,
  endRunSession,
  openRunSession,
  renewRunSession,
  startRunSession,
  abandonLease,
  acquireLease,
  getDaemon,
  getPipeline,
  listLeases,
  listLoops,
  listPipelines,
  listSlots,
  listWorkers,
  pause,
  releaseLease,
  renewLease,
  resume,
  runLoop,
  decideDuplicate,
  events,
  listActions,
  listDuplicates,
  why,
  changeSettings,
  getSettings,
  checkStore,
  healthz,
  metrics,
  openapi,
  queueStatus,
  readyz,
} as const satisfies Record<string, Endpoint>;
