import { nearestWord } from "../../config/edit-distance.ts";
import { findingsOfZod } from "../../config/zod-findings.ts";
import { spanText } from "../../domain/durations.ts";
import { WakefulError } from "../../domain/errors.ts";
import { absoluteText, relativeText } from "../../domain/instant-text.ts";
import { asInstant, type Instant } from "../../domain/time.ts";
import { api } from "../../protocol/api/index.ts";
import type { Client } from "../../protocol/client.ts";
import type { Endpoint } from "../../protocol/endpoint.ts";
import { type CommandCall, type CommandContext, flagOption, type Options, textOption } from "../command.ts";
import { statePainter, tableText } from "../table.ts";

export async function run({ connect, host, json }: CommandContext, { args: [what = "items"], options }: CommandCall): Promise<void> {
  const listing = Object.hasOwn(listings, what) ? listings[what] : undefined;
  if (listing === undefined) {
    const nearest = nearestWord(what, Object.keys(listings));
    throw new WakefulError(
      "bad_request",
      `There is no list of "${what}"${nearest === undefined ? "." : `; did you mean "${nearest}"?`} There are ${Object.keys(listings).join(", ")}.`,
    );
  }
  const query = queryOf(what, { options, endpoint: listing.endpoint });
  const { client } = await connect({ offline: true });
  const now = asInstant(host.clock.wall());
  const tell = flagOption(options, "absolute") ? absoluteText : (at: Instant) => relativeText(at, now);
  const when = (at: number | null): string | null => (at === null ? null : tell(asInstant(at)));
  const { answer, text } = await listing.list({ client, query, when, colour: host.output.colour });
  host.output.out(json ? `${JSON.stringify(answer)}\n` : text);
}

/** `wakeful leases`. */
export const listLeases = (context: CommandContext, { options }: CommandCall): Promise<void> => run(context, { args: ["leases"], options });

const queryOptions = ["state", "pipeline", "queue", "limit"];

/** The options that choose rows. What the API would refuse is refused here, in words of the command line. */
function queryOf(
  what: string,
  { options, endpoint: { query: schema } }: { readonly options: Options; readonly endpoint: Endpoint },
): Readonly<Record<string, string>> {
  const query: Record<string, string> = {};
  const taken = queryOptions.filter((name) => Object.hasOwn(schema?.shape ?? {}, name));
  for (const name of queryOptions) {
    const value = textOption(options, name);
    if (value === undefined) continue;
    if (!taken.includes(name)) {
      const instead = taken.length === 0 ? "" : `; it takes ${taken.map((each) => `--${each}`).join(", ")}`;
      throw new WakefulError("bad_request", `\`wakeful ls ${what}\` has no --${name}${instead}.`);
    }
    query[name] = value;
  }
  const parsed = schema?.safeParse(query);
  const [finding] = schema === undefined || parsed?.error === undefined ? [] : findingsOfZod(parsed.error, schema, query);
  if (finding === undefined) return query;
  const name = String(finding.path[0]);
  throw new WakefulError("bad_request", `--${name} ${query[name]} ${finding.rule}.`);
}

interface ListingRequest {
  readonly client: Client;
  /** What was asked for, of what the list's endpoint takes. */
  readonly query: Readonly<Record<string, string>>;
  /** How an instant is printed; null for none. */
  readonly when: (at: number | null) => string | null;
  readonly colour: boolean;
}

interface Listing {
  /** As the API gave it. */
  readonly answer: unknown;
  readonly text: string;
}

type List = (request: ListingRequest) => Promise<Listing>;

const items: List = async ({ client, query, when, colour }) => {
  const answer = await client.call(api.listItems, { query });
  const text = tableText(answer.items, [
    { title: "ITEM", of: ({ id }) => `item:${id}` },
    { title: "PIPELINE", of: ({ pipeline }) => pipeline },
    { title: "NAME", of: ({ label, key }) => label ?? key },
    { title: "STAGE", of: ({ stage }) => stage },
    { title: "STATE", of: ({ state }) => state, paint: statePainter(colour) },
    { title: "CHANGED", of: ({ updatedAt }) => when(updatedAt) },
    { title: "ERROR", of: ({ error }) => error },
  ]);
  return { answer, text };
};

const jobs: List = async ({ client, query, when, colour }) => {
  const answer = await client.call(api.listJobs, { query });
  const text = tableText(answer.jobs, [
    { title: "JOB", of: ({ id }) => `job:${id}` },
    { title: "QUEUE", of: ({ queue }) => queue },
    {
      title: "STATE",
      of: (job) => (job.blockedBy !== null ? `${job.state}, stopping` : job.paused ? `${job.state}, paused` : job.state),
      paint: statePainter(colour),
    },
    { title: "ATTEMPTS", of: ({ attempts, maxAttempts }) => `${attempts}/${maxAttempts}` },
    { title: "LOSSES", of: ({ losses, maxLosses }) => (maxLosses === null ? null : `${losses}/${maxLosses}`) },
    { title: "ITEM", of: ({ itemId }) => (itemId === null ? null : `item:${itemId}`) },
    { title: "CREATED", of: ({ createdAt }) => when(createdAt) },
    { title: "ERROR", of: ({ error }) => error },
  ]);
  return { answer, text };
};

const runs: List = async ({ client, query, when, colour }) => {
  const answer = await client.call(api.listRuns, { query });
  const text = tableText(answer.runs, [
    { title: "RUN", of: ({ id }) => `run:${id}` },
    { title: "JOB", of: ({ jobId }) => `job:${jobId}` },
    { title: "QUEUE", of: ({ queue }) => queue },
    { title: "ATTEMPT", of: ({ attempt }) => attempt },
    { title: "STATE", of: ({ state }) => state, paint: statePainter(colour) },
    { title: "STARTED", of: ({ startedAt }) => when(startedAt) },
    { title: "PROGRESS", of: ({ progressAt }) => when(progressAt) },
    { title: "PID", of: ({ process }) => process?.pid ?? null },
    { title: "WORKER", of: ({ workerId }) => workerId },
  ]);
  return { answer, text };
};

const workers: List = async ({ client, query, when, colour }) => {
  const answer = await client.call(api.listWorkers, { query });
  const text = tableText(answer.workers, [
    { title: "WORKER", of: ({ id }) => id },
    { title: "NAME", of: ({ name }) => name },
    { title: "KIND", of: ({ kind }) => kind },
    { title: "STATE", of: ({ state, paused }) => (paused ? `${state}, paused` : state), paint: statePainter(colour) },
    { title: "HEARD", of: ({ lastHeardAt }) => when(lastHeardAt) },
    { title: "PID", of: ({ process }) => process.pid },
    { title: "SLOTS", of: ({ concurrency }) => concurrency },
    { title: "LAG", of: ({ loopLagMs }) => (loopLagMs === null ? null : `${Math.round(loopLagMs)}ms`) },
    { title: "QUEUES", of: ({ queues }) => queues.join(" ") },
  ]);
  return { answer, text };
};

const leases: List = async ({ client, query, when, colour }) => {
  const answer = await client.call(api.listLeases, { query });
  const text = tableText(answer.leases, [
    { title: "LEASE", of: ({ name }) => name },
    { title: "STATE", of: ({ state }) => state, paint: statePainter(colour) },
    {
      title: "HOLDER",
      of: ({ holder }) => (holder === null ? null : holder.kind === "run" ? `run:${holder.runId}` : `process ${holder.process.pid}`),
    },
    { title: "FENCING", of: ({ fencing }) => fencing },
    { title: "GRANTED", of: ({ grantedAt }) => when(grantedAt) },
    { title: "EXPIRES", of: ({ expiresAt }) => when(expiresAt) },
    { title: "WAITING", of: ({ waiters }) => waiters },
  ]);
  return { answer, text };
};

const loops: List = async ({ client, when }) => {
  const answer = await client.call(api.listLoops, {});
  const text = tableText(answer.loops, [
    { title: "LOOP", of: ({ name }) => name },
    { title: "ON", of: ({ enabled }) => (enabled ? "yes" : "no") },
    { title: "EVERY", of: ({ intervalMs }) => spanText(intervalMs) },
    { title: "LAST RUN", of: ({ lastRunAt }) => when(lastRunAt) },
    { title: "TOOK", of: ({ lastDurationMs }) => (lastDurationMs === null ? null : spanText(lastDurationMs)) },
    { title: "TICKS", of: ({ ticks }) => ticks },
    { title: "FAILED", of: ({ failures }) => failures },
    { title: "SETTLED", of: ({ settled }) => settled },
    { title: "LAST ERROR", of: ({ lastError }) => lastError },
  ]);
  return { answer, text };
};

const slots: List = async ({ client }) => {
  const answer = await client.call(api.listSlots, {});
  const text = tableText(answer.slots, [
    { title: "SLOT", of: ({ key }) => key },
    { title: "USED", of: ({ used }) => used },
    { title: "CAPACITY", of: ({ capacity }) => capacity },
  ]);
  return { answer, text };
};

const pipelines: List = async ({ client }) => {
  const answer = await client.call(api.listPipelines, {});
  const text = tableText(answer.pipelines, [
    { title: "PIPELINE", of: ({ name }) => name },
    { title: "STAGES", of: ({ stages }) => stages.join(" -> ") },
    { title: "PAUSED", of: ({ paused }) => (paused ? "yes" : "no") },
    { title: "VERSION", of: ({ version }) => version.slice(0, 12) },
    { title: "LOADED", of: ({ loaded }) => (loaded ? "yes" : "no") },
  ]);
  return { answer, text };
};

const duplicates: List = async ({ client, query, when }) => {
  const answer = await client.call(api.listDuplicates, { query });
  const text = tableText(answer.duplicates, [
    { title: "DUPLICATE", of: ({ id }) => id },
    { title: "PIPELINE", of: ({ pipeline }) => pipeline },
    { title: "FILE", of: ({ fileName }) => fileName },
    { title: "IS", of: ({ existingItemId }) => `item:${existingItemId}` },
    { title: "FOUND", of: ({ detectedAt }) => when(detectedAt) },
    { title: "DECISION", of: ({ decision }) => decision },
  ]);
  return { answer, text };
};

/** What `wakeful ls` can list, by name, and the endpoint that says what may be asked of it. */
const listings: Readonly<Record<string, { readonly endpoint: Endpoint; readonly list: List }>> = {
  items: { endpoint: api.listItems, list: items },
  jobs: { endpoint: api.listJobs, list: jobs },
  runs: { endpoint: api.listRuns, list: runs },
  workers: { endpoint: api.listWorkers, list: workers },
  leases: { endpoint: api.listLeases, list: leases },
  loops: { endpoint: api.listLoops, list: loops },
  slots: { endpoint: api.listSlots, list: slots },
  pipelines: { endpoint: api.listPipelines, list: pipelines },
  duplicates: { endpoint: api.listDuplicates, list: duplicates },
};
