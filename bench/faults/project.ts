import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type Limits, limitSettings } from "./limits.ts";
import { placesOf } from "./places.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));
export const program = join(repository, "dist/bin/wakeful.js");
const library = pathToFileURL(join(repository, "dist/index.js")).href;

/** What all daemons of a world share: the ledger, the commands and the handlers that write into it. */
export function writeWork(folder: string): { readonly ledgerPath: string } {
  const ledgerPath = join(folder, "ledger");
  writeFileSync(ledgerPath, "");
  writeFileSync(join(folder, "work.sh"), commandText(ledgerPath));
  writeFileSync(join(folder, "handlers.mjs"), handlersText(ledgerPath));
  return { ledgerPath };
}

export interface DaemonProject {
  readonly folder: string;
  readonly dataDir: string;
  /** A path or a URL; undefined: the file in the data directory. */
  readonly store: string | undefined;
  readonly limits: Limits;
}

/** The folder of one daemon, beside those of the others and below what {@link writeWork} wrote. */
export function writeProject({ folder, dataDir, store, limits }: DaemonProject): void {
  mkdirSync(folder, { recursive: true });
  const world = dirname(folder);
  const { secret, share, hung } = placesOf(world);
  const stage = (name: string, more: string, command: readonly string[] = ["sh", join(world, "work.sh")]): string =>
    `      ${name}: { run: { command: ${JSON.stringify(command)} }, timeout: 1h, attempts: 30, maxLosses: 30, retry: { min: 100ms, max: 1s }${more} }\n`;
  const pipeline = (name: string, ...stages: readonly string[]): string => `  ${name}:\n    stages:\n${stages.join("")}`;
  const storeLine = store === undefined ? "" : `store: ${JSON.stringify(store)}\n`;
  writeFileSync(
    join(folder, "wakeful.yaml"),
    `http: { listen: "127.0.0.1:0" }
dataDir: ${JSON.stringify(dataDir)}
log: { level: debug }
disk: { minFreeBytes: 4MiB, ballastBytes: 1MiB }
${storeLine}${limitSettings(limits)}pipelines:
${pipeline("commands", stage("work", ", next: check"), stage("check", ""))}${pipeline("probes", stage("work", ", priority: -1000"))}${pipeline(
  "secret",
  stage("work", `, env: { SECRET: { file: ${JSON.stringify(secret)} } }`),
)}${pipeline("share", stage("work", "", [join(share, "work")]))}${pipeline(
  "hung",
  stage("work", `, env: { SECRET: { file: ${JSON.stringify(join(hung, "secret"))} } }`),
)}  hostile:
    stages:
      work: { run: { command: ["true"] }, timeout: 1h, attempts: 1, gate: { command: [sh, -c, "printf 'bad \\\\000 \\\\355\\\\240\\\\275'; exit 3"], timeout: 20s } }
`,
  );
}

/** How long a command works is told by the number in its item's key: it ends with milliseconds. */
function commandText(ledgerPath: string): string {
  return `note() {
  read -r now _ < /proc/uptime
  printf '{"is":"%s","by":"command","job":%s,"run":%s,"attempt":%s,"pid":%s,"at":%s}\\n' \\
    "$1" "$WAKEFUL_JOB_ID" "$WAKEFUL_RUN_ID" "$WAKEFUL_ATTEMPT" "$$" "$now" >> '${ledgerPath}'
}
note begin
ms=\${WAKEFUL_ITEM_KEY##*-}
sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
note end
`;
}

function handlersText(ledgerPath: string): string {
  return `import { appendFileSync, readFileSync } from "node:fs";
import { defineTask } from ${JSON.stringify(library)};

function note(is, job) {
  const at = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]);
  const entry = { is, by: "handler", job: job.id, run: job.runId, attempt: job.attempt, pid: process.pid, at };
  appendFileSync(${JSON.stringify(ledgerPath)}, JSON.stringify(entry) + "\\n");
}

async function pass(ms, signal) {
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}

export const work = defineTask("work", async (job, { signal }) => {
  note("begin", job);
  await pass(job.payload.ms, signal);
  note(signal.aborted ? "stopped" : "end", job);
  signal.throwIfAborted();
});

/** What a store cannot keep, or what a cut leaves half of. */
const texts = { nul: "a\\0b", surrogate: "half \\ud83d of it", cut: "x".repeat(8191) + "\\ud83d\\ude00 more" };

export const hostile = defineTask("hostile", async (job) => {
  note("begin", job);
  note("end", job);
  throw new Error(texts[job.payload.text]);
});

export const poison = defineTask("poison", async (job) => {
  note("begin", job);
  process.exit(1);
});
`;
}
