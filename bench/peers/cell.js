/** What the peers' cells share. Plain JavaScript: the peers are no part of the package's checks. */
import { readdirSync, readFileSync } from "node:fs";

export const question = JSON.parse(process.argv[2] ?? "{}");

/** The last line of standard output is the answer; then the process ends, whatever a peer keeps open. */
export function answer(measured) {
  process.stdout.write(`\n${JSON.stringify(measured)}\n`, () => process.exit(0));
}

export const batchOf = (from, size) => Array.from({ length: size }, (_, at) => ({ i: from + at }));

/** Calls `send(payloads)` for `jobs` jobs, a thousand a call. Answers jobs a second. */
export async function enqueueInBatches(jobs, send) {
  const began = performance.now();
  for (let from = 0; from < jobs; from += 1000) await send(batchOf(from, Math.min(1000, jobs - from)));
  return jobs / ((performance.now() - began) / 1000);
}

/** Calls a second, `lanes` of them in flight. */
export async function inFlight(lanes, calls, call) {
  const began = performance.now();
  let next = 0;
  const lane = async () => {
    while (next < calls) await call({ i: next++ });
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return calls / ((performance.now() - began) / 1000);
}

/** One call at a time, sixteen in flight, a thousand jobs a call. */
export async function enqueueEachWay({ singles, batched }, sendOne, sendBatch) {
  await inFlight(1, 50, sendOne);
  return {
    single: await inFlight(1, singles, sendOne),
    concurrent: await inFlight(16, singles * 2, sendOne),
    batch: await enqueueInBatches(batched, sendBatch),
  };
}

/**
 * Measures from the first handler call after `unmeasured` jobs until `isEmpty` says that nothing is left. With `seconds`, the rate of the
 * calls within that time: for settings that would take minutes.
 */
export class Drain {
  #jobs;
  #seconds;
  #serverPid;
  #unmeasured;
  #calls = 0;
  #callsBefore = 0;
  #began = 0;
  #cpu;
  #serverTicks = 0;
  #enough = withResolvers();

  constructor({ jobs, seconds, serverPid, unmeasured = 0 }) {
    this.#jobs = jobs;
    this.#unmeasured = unmeasured;
    this.#seconds = seconds;
    this.#serverPid = serverPid;
  }

  /** To be called by each handler, with the number of jobs that it was given. */
  called(jobs = 1) {
    if (this.#began === 0 && this.#calls >= this.#unmeasured) {
      this.#began = performance.now();
      this.#callsBefore = this.#calls;
      this.#cpu = process.cpuUsage();
      this.#serverTicks = processorTicks(this.#serverPid);
      if (this.#seconds !== undefined) setTimeout(() => this.#enough.resolve(), this.#seconds * 1000);
    }
    this.#calls += jobs;
    if (this.#calls >= this.#jobs) this.#enough.resolve();
  }

  async measured(isEmpty) {
    await this.#enough.promise;
    const calls = this.#calls;
    const jobs = calls - this.#callsBefore;
    if (this.#seconds === undefined) while (!(await isEmpty())) await new Promise((resolve) => setTimeout(resolve, 2));
    const seconds = (performance.now() - this.#began) / 1000;
    const { user, system } = process.cpuUsage(this.#cpu);
    const serverUs = ((processorTicks(this.#serverPid) - this.#serverTicks) / 100) * 1e6;
    return { perSecond: jobs / seconds, cpuUsPerJob: (user + system) / jobs, processorUs: serverUs / jobs, calls };
  }
}

/** The first ones warm up code, connections and files. */
const warmUp = 20;

/**
 * Enqueues one job each now and then and takes the time until its handler starts. `send(payload)` enqueues; `hear(handler)` starts a worker
 * whose handler calls `handler(payload)`. From another process `send` is called in a copy of this program.
 */
export async function measureLatency({ jobs, from, everyMs }, { send, hear }) {
  const all = jobs + warmUp;
  const enqueueAll = async () => {
    for (let at = 0; at < all; at++) {
      await send({ at: monotonicMs() });
      await new Promise((resolve) => setTimeout(resolve, everyMs[0] + Math.random() * (everyMs[1] - everyMs[0])));
    }
  };
  if (from === "called by the other") {
    await enqueueAll();
    return {};
  }
  const latencies = [];
  const finished = withResolvers();
  await hear(({ at }) => {
    latencies.push(monotonicMs() - at);
    if (latencies.length === all) finished.resolve();
  });
  if (from === "this process") await enqueueAll();
  else await callOther();
  await finished.promise;
  const steady = latencies.slice(warmUp).sort((a, b) => a - b);
  const percentile = (share) => steady[Math.min(steady.length - 1, Math.ceil(steady.length * share) - 1)];
  return { p50Ms: percentile(0.5), p95Ms: percentile(0.95), p99Ms: percentile(0.99), maxMs: steady.at(-1) };
}

async function callOther() {
  const { spawn } = await import("node:child_process");
  const args = [process.argv[1], JSON.stringify({ ...question, from: "called by the other" })];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
  const code = await new Promise((resolve) => child.once("exit", resolve));
  if (code !== 0) throw new Error(`the process that enqueues ended with ${code}`);
}

/** The system's monotonic clock is the same in all processes. */
const monotonicMs = () => Number(process.hrtime.bigint()) / 1e6;

function withResolvers() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}

/** Processor time so far of a server and its children, in hundredths of a second; NaN where there is no /proc or no server. */
function processorTicks(serverPid) {
  const own = stat(serverPid);
  if (own === undefined) return Number.NaN;
  let ticks = own.ticks + own.endedChildren;
  for (const name of readdirSync("/proc")) {
    const child = /^\d+$/.test(name) ? stat(name) : undefined;
    if (child?.parent === serverPid) ticks += child.ticks;
  }
  return ticks;
}

function stat(pid) {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = line
      .slice(line.lastIndexOf(")") + 2)
      .split(" ")
      .map(Number);
    return { parent: fields[1], ticks: fields[11] + fields[12], endedChildren: fields[13] + fields[14] };
  } catch {
    // Ended, or another system.
    return undefined;
  }
}
