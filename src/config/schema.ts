import { z } from "zod";
import { days, hours, minutes, seconds } from "../domain/time.ts";
import { defaultReaderLimits, longLogBytes } from "../liveness/old-readers.ts";
import { defaultRunThresholds } from "../liveness/run-thresholds.ts";
import { parseListen } from "./listen-address.ts";
import { type LoopName, loopNames } from "./loop-names.ts";
import { isPostgresUrl, parsePostgresUrl } from "./postgres-url.ts";
import { decimal, durationSetting, flag, integer, list, oneOf, section, sizeBytes, text } from "./setting.ts";

const mebibytes = (n: number): number => n * 2 ** 20;
const gibibytes = (n: number): number => n * 2 ** 30;
/** Longer than any sensible limit, and far below where milliseconds stop being exact. */
const longest = days(3650);

/** A variable of the delivery orchestrator, with and without its prefix. */
const prefixed = (name: string, unit?: "s"): { name: string; unit?: "s" }[] =>
  [`ORCH_${name}`, name].map((each) => (unit === undefined ? { name: each } : { name: each, unit }));

const reaper = {
  enabled: flag({
    default: true,
    meaning:
      "Whether runs are judged and given back, by the job-reaper or with the session that held them. Sessions are judged, and leases swept, by switches of their own.",
    aliases: prefixed("REAPER_ENABLED"),
  }),
  intervalMs: durationSetting({
    default: seconds(1),
    min: 50,
    max: minutes(10),
    meaning: "Time between two ticks of the reaper. Fixed while the daemon runs.",
    aliases: prefixed("REAPER_INTERVAL_S", "s"),
  }),
  deadTicks: integer({
    default: 2,
    min: 1,
    max: 100,
    unit: "ticks",
    meaning: "Consecutive looks that must find a process dead before its run is ended.",
    aliases: prefixed("REAPER_DEAD_TICKS"),
  }),
  finalizeGraceMs: durationSetting({
    default: seconds(300),
    min: 0,
    max: days(7),
    meaning:
      "How long after its recorded exit a run may take to be settled before its finalising is taken over, where its stage declares no finalizeGrace; read at each tick. Must exceed the longest finalisation.",
    aliases: prefixed("REAPER_FINALIZE_GRACE_S", "s"),
  }),
  maxRunningMs: durationSetting({
    default: hours(24),
    min: 1,
    max: longest,
    meaning:
      "The age at which a run whose stage or task declares neither maxRunning nor a timeout is ended whatever the evidence; read at each tick, for runs at work too. Must exceed the longest stage timeout plus the grace.",
    aliases: prefixed("REAPER_MAX_RUNNING_S", "s"),
  }),
  suspectRecheckMs: durationSetting({
    default: 250,
    min: 10,
    max: minutes(1),
    meaning: "How soon a process that looked dead once is looked at again.",
  }),
  startWithinMs: durationSetting({
    default: seconds(30),
    min: seconds(1),
    max: hours(1),
    meaning:
      "How long a run may stay unnamed by its worker: a reserved one then counts as never started, one of a handler that has started as forgotten, which spends no attempt.",
  }),
  adoptWithinMs: durationSetting({
    default: seconds(30),
    min: seconds(1),
    max: hours(1),
    meaning: "How long an orphaned process waits for a supervisor before it is stopped.",
  }),
};

const loops = Object.fromEntries(
  loopNames.map((name) => [
    name,
    section({ enabled: flag({ default: true, meaning: `Whether the ${name} loop works; read at each tick.` }) }, `The ${name} loop.`),
  ]),
) as Record<LoopName, ReturnType<typeof section<{ enabled: z.ZodType<boolean> }>>>;

function storeUrlRule(value: string): string | undefined {
  const parsed = isPostgresUrl(value) ? parsePostgresUrl(value) : undefined;
  return parsed?.ok === false ? parsed.rule : undefined;
}

/** Every setting by section, with its default, bounds and meaning. The one source of validation, documentation and JSON schema. */
export const configShape = {
  store: text({
    default: undefined as string | undefined,
    meaning: "Where the state is kept: the path of an SQLite file (wakeful.db in dataDir by default), or a postgres:// URL.",
    aliases: prefixed("DB_PATH").slice(0, 1),
    isPath: true,
    rule: (value) =>
      value === ":memory:"
        ? "must be a file: a store in memory forgets every job with its daemon"
        : /^[a-z][a-z0-9+.-]*:\/\//i.test(value) && !/^postgres(ql)?:\/\//.test(value)
          ? "must be a path or a postgres:// URL"
          : storeUrlRule(value),
  }),
  dataDir: text<string>({
    default: "data",
    isPath: true,
    meaning: "Directory of work/, runs/ and tokens; made with mode 0700.",
    aliases: ["DATA_DIR"],
  }),
  http: section(
    {
      listen: text<string>({
        default: "127.0.0.1:7070",
        meaning: "Address and port of the API. Port 0 lets the system choose.",
        rule: (value) =>
          parseListen(value) === undefined ? "must be an address and a port (0 to 65535), such as 127.0.0.1:7070 or [::1]:7070" : undefined,
        assembled: {
          names: ["ORCHESTRATOR_HTTP_BIND", "ORCHESTRATOR_HTTP_PORT"],
          join: ({ ORCHESTRATOR_HTTP_BIND: host = "127.0.0.1", ORCHESTRATOR_HTTP_PORT: port = "7070" }) =>
            `${host.includes(":") && !host.startsWith("[") ? `[${host}]` : host}:${port}`,
        },
      }),
      allowedHosts: list({
        default: [],
        meaning: "Host names, beside the listening address and localhost, that requests may be addressed to.",
      }),
    },
    "The API.",
  ),
  worker: section(
    {
      concurrency: integer({
        default: 4,
        min: 1,
        max: 10_000,
        unit: "runs",
        meaning:
          "How many commands the daemon's own worker executes at once, and as many handlers in its handler host beside them: up to twice this many runs where stages or tasks are of both kinds. Handlers whose process died are tried alone, up to four more.",
        aliases: ["MAX_JOBS_IN_FLIGHT", "SERVICE_CONCURRENCY", "ORCH_MAX_CONCURRENCY"],
      }),
      outstandingMax: integer({
        default: 200,
        min: 1,
        max: 100_000,
        unit: "runs",
        meaning:
          "How many handler runs a worker holds claimed and not yet settled, those at work included; what may run again after a crash. At least worker.concurrency. Ends that the store does not take, however often they are repeated, leave their places: at most as many again.",
      }),
      renewMs: durationSetting({ default: seconds(5), min: 10, max: minutes(10), meaning: "How often a worker renews its session." }),
      selfFenceAfterMs: durationSetting({
        default: seconds(15),
        min: 30,
        max: hours(1),
        meaning:
          "How long a worker that nobody can probe may go without a confirmed renewal: at least three renewals, and deadAfterMs must leave it the time to let go. A start that was confirmed longer ago is confirmed again before its command may run. " +
          "Commands are not frozen at it yet: that comes with workers on other hosts; those of this host are probed and need none of it.",
      }),
      deadAfterMs: durationSetting({
        default: seconds(30),
        min: 100,
        max: hours(2),
        meaning:
          "Silence after which a worker that cannot be probed is judged dead. Longer than fencing, stopping and one renewal together.",
      }),
      renewTimeoutMs: durationSetting({
        default: seconds(5),
        min: 10,
        max: minutes(10),
        meaning: "How long one renewal of a session may take; one that takes longer counts as failed, and the next is made in its turn.",
      }),
      fenceKillAfterMs: durationSetting({
        default: minutes(10),
        min: 100,
        max: days(1),
        meaning:
          "How long after the time for stopping it a run on a host that cannot be probed counts as stopped, so that its job may run again, with an alert. " +
          "Nothing kills it there meanwhile: that comes with workers on other hosts. A host that is heard again stops it then.",
      }),
      handlers: text({
        default: undefined as string | undefined,
        isPath: true,
        meaning: "Module whose exports hold the handlers of stages that name one.",
      }),
    },
    "Workers, and what the daemon tells them when they register.",
  ),
  heartbeat: section(
    {
      timeoutMs: durationSetting({
        default: seconds(600),
        min: 1,
        max: days(30),
        meaning: "Default of a stage's heartbeat.timeout. Below 60 s only with --dev. A run that never beat is hung after twice this.",
        aliases: [{ name: "JOB_TIMEOUT_SECONDS", unit: "s" }],
      }),
    },
    "Defaults of how stages prove progress.",
  ),
  intake: section(
    {
      pollMs: durationSetting({
        default: seconds(1),
        min: 50,
        max: hours(1),
        meaning: "How often watched folders are looked at.",
        aliases: ["POLL_INTERVAL_MS"],
      }),
      maxBytes: sizeBytes({
        default: mebibytes(500),
        min: 1,
        max: gibibytes(1024 * 1024),
        meaning: "Default of an intake's maxBytes: larger files are rejected.",
        aliases: [{ name: "MAX_INPUT_SIZE_MB", unit: "MiB" }],
      }),
      diskFreeFactor: decimal({
        default: 2,
        min: 0,
        max: 1000,
        meaning: "Default of an intake's diskFreeFactor: free disk must be this many times the file.",
        aliases: ["DISK_FREE_FACTOR"],
      }),
    },
    "Defaults of watched folders.",
  ),
  reaper: section(reaper, "How runs are judged."),
  leases: section(
    {
      reclaimEnabled: flag({
        default: true,
        meaning: "Whether leases of dead holders are freed.",
        aliases: prefixed("LEASE_RECLAIM_ENABLED"),
      }),
      scope: list({
        default: [],
        meaning: "Names of the leases that the sweep looks after; empty: all leases of the store.",
        aliases: prefixed("MERGE_GATE_REPOS"),
      }),
    },
    "Named exclusive holds.",
  ),
  stop: section(
    {
      stopGraceMs: durationSetting({
        default: seconds(5),
        min: 0,
        max: hours(1),
        meaning: "Time between asking a process to stop (TERM) and killing it.",
      }),
      killGraceMs: durationSetting({
        default: seconds(2),
        min: 0,
        max: minutes(10),
        meaning: "Time after KILL in which a process must be gone.",
      }),
    },
    "How processes are stopped.",
  ),
  recovery: section(
    {
      recoverySpreadMs: durationSetting({
        default: seconds(30),
        min: 0,
        max: hours(1),
        meaning: "Time over which the requeues of one event (a host, a session) are spread beyond 100 jobs.",
      }),
      pinnedHostLostMs: durationSetting({
        default: defaultRunThresholds.pinnedHostLostMs,
        min: seconds(1),
        max: days(30),
        meaning:
          "How long the daemon of another data directory on the same PostgreSQL store may be silent before the items whose files it has are held, with one alert, and what ran there is given up.",
      }),
      adoption: flag({
        default: true,
        meaning: "Whether commands that outlived their supervisor are carried on with. Off: they are stopped and requeued.",
      }),
    },
    "What happens after a crash.",
  ),
  retention: section(
    {
      finishedRowsMs: durationSetting({
        default: days(30),
        min: 0,
        max: longest,
        meaning: "How long rows of finished items and jobs are kept.",
      }),
      logsMs: durationSetting({ default: days(14), min: 0, max: longest, meaning: "How long output of finished runs is kept." }),
      duplicatesMs: durationSetting({
        default: days(30),
        min: 0,
        max: longest,
        meaning: "How long rows of duplicates that were decided and dealt with are kept.",
      }),
      workDirsDays: integer({
        default: 7,
        min: 0,
        max: 3650,
        unit: "days",
        meaning: "How long work directories of finished items are kept; 0 removes them when the item is done.",
        aliases: ["KEEP_WORK_DIR_DAYS"],
      }),
    },
    "How long what is finished is kept. Nothing unfinished, held or adopted is ever removed.",
  ),
  disk: section(
    {
      minFreeBytes: sizeBytes({
        default: mebibytes(512),
        min: 0,
        max: gibibytes(1024),
        meaning: "Free space below which no further run is claimed.",
      }),
      minFreeInodes: integer({
        default: 1000,
        min: 0,
        max: 1_000_000_000,
        meaning:
          "Number of files that can still be made on the disk below which no further run is claimed; a run makes about ten. File systems that set no number are not asked.",
      }),
      ballastBytes: sizeBytes({
        default: mebibytes(16),
        min: 0,
        max: gibibytes(16),
        meaning: "Size of a file that is freed on a full disk, to be able to settle.",
      }),
      pathTimeoutMs: durationSetting({
        default: seconds(10),
        min: seconds(1),
        max: minutes(10),
        meaning:
          "How long a call to a share (NFS, SMB, FUSE, ...) may give no sign before the share counts as hung: what lies there then waits, and an alert names it.",
      }),
    },
    "What is kept free, and how long a share may be silent.",
  ),
  readers: section(
    {
      alertAfterMs: durationSetting({
        default: defaultReaderLimits.alertAfterMs,
        min: seconds(1),
        max: days(30),
        meaning:
          "PostgreSQL: an alert names a transaction that is open for so long, once 10,000 others have begun since; what ended in them is not vacuumed. " +
          "Longer than the longest dump of the database.",
      }),
      alertLogBytes: sizeBytes({
        default: defaultReaderLimits.alertLogBytes,
        min: longLogBytes,
        max: gibibytes(1024),
        meaning:
          "SQLite: an alert names the process that reads an old state of the file for more than 10 s, while the write-ahead log is longer than this. " +
          "The log is cut back when it ends.",
      }),
    },
    "Who reads an old state of the store, so that what is newer cannot be cleaned up.",
  ),
  log: section(
    {
      level: oneOf({
        default: "info",
        values: ["debug", "info", "warn", "error"],
        meaning: "The least important messages that are written.",
      }),
      json: flag({ default: false, meaning: "One JSON object per line instead of text for people.", aliases: ["LOG_JSON"] }),
    },
    "The daemon's own log.",
  ),
  loops: section(loops, "Kill switches of the loops."),
  dev: flag({ default: false, meaning: "Development: allows limits too short for production. Same as --dev." }),
};

/** The whole configuration but its pipelines, which have a schema of their own above this module. */
export const configSchema = z.strictObject(configShape);
