/** `npm run bench`: measures what we promise, beside the peers in the same run, or against another revision. `--help` tells how. */
import { compareRevisions, comparisonTable } from "./against/compare-revisions.ts";
import { isShort } from "./against/comparison.ts";
import { type BenchName, type BenchRequest, comparisonRounds, helpText, readArguments } from "./arguments.ts";
import { BenchError } from "./bench-error.ts";
import { buildCheckout } from "./build-checkout.ts";
import { cellRunner, repository } from "./cell.ts";
import type { FaultRequest } from "./faults/fault-request.ts";
import { failedPoints, faultTable } from "./faults/report.ts";
import { runFaults } from "./faults/run-faults.ts";
import { type BenchOptions, type Figure, unmeasured } from "./figure.ts";
import { table } from "./table.ts";

const benches: Readonly<Record<BenchName, () => Promise<(options: BenchOptions) => Promise<readonly Figure[]>>>> = {
  embedded: async () => (await import("./figures/embedded.ts")).embedded,
  latency: async () => (await import("./figures/latency.ts")).latency,
  recovery: async () => (await import("./figures/recovery.ts")).recovery,
  reaper: async () => (await import("./figures/reaper.ts")).reaper,
  idle: async () => (await import("./figures/idle.ts")).idle,
  queue: async () => (await import("./figures/queue.ts")).queue,
  "queue-growth": async () => (await import("./figures/queue-growth.ts")).queueGrowth,
};

const interrupt = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(signal, () =>
    interrupt.abort(new BenchError("interrupted", `${signal}: what was started is stopped, and the temporary folders are removed.`)),
  );

const tell = (line: string): void => void process.stderr.write(`${line}\n`);

try {
  const request = readArguments(process.argv.slice(2));
  if (request === "help") process.stdout.write(helpText);
  else if ("faults" in request) process.exitCode = await makeFaults(request.faults);
  else process.exitCode = request.against === undefined ? await measure(request) : await compare(request, request.against);
} catch (thrown) {
  if (!(thrown instanceof BenchError)) throw thrown;
  tell(`${thrown.code}: ${thrown.message}`);
  if (process.argv.includes("--json"))
    process.stdout.write(`${JSON.stringify({ error: { code: thrown.code, message: thrown.message } })}\n`);
  process.exitCode = thrown.code === "interrupted" ? 130 : 2;
}

async function compare({ names, rounds = comparisonRounds, json }: BenchRequest, revision: string): Promise<number> {
  const report = await compareRevisions({ repository, revision, names, rounds, signal: interrupt.signal, say: tell });
  process.stdout.write(json ? `${JSON.stringify(report, undefined, 2)}\n` : comparisonTable(report));
  return report.figures.some(isShort) ? 1 : 0;
}

async function makeFaults(request: FaultRequest): Promise<number> {
  await buildCheckout({ name: "the working tree", folder: repository }, interrupt.signal);
  const report = await runFaults({ request, signal: interrupt.signal, say: tell });
  process.stdout.write(request.json ? `${JSON.stringify(report, undefined, 2)}\n` : faultTable(report));
  return failedPoints(report) === 0 ? 0 : 1;
}

async function measure({ names, quick, json, ...options }: BenchRequest): Promise<number> {
  await buildCheckout({ name: "the working tree", folder: repository }, interrupt.signal);
  const runCell = cellRunner({ checkout: repository, signal: interrupt.signal });
  const figures: Figure[] = [];
  for (const name of names) {
    const say = (line: string): void => tell(`${name}: ${line}`);
    try {
      const bench = await benches[name]();
      figures.push(...(await bench({ ...options, quick, say, runCell })));
    } catch (thrown) {
      interrupt.signal.throwIfAborted();
      // The other figures are worth keeping.
      const why = thrown instanceof Error ? thrown.message : String(thrown);
      say(why);
      figures.push(unmeasured(name, "", "", why));
    }
  }
  process.stdout.write(json ? `${JSON.stringify({ figures }, undefined, 2)}\n` : figureTable(figures));
  return figures.some(({ holds }) => holds === false) ? 1 : 0;
}

function figureTable(figures: readonly Figure[]): string {
  return table(
    figures.map(({ name, value, unit, target, holds, samples, note }) => [
      name,
      value === null ? "-" : `${value} ${unit}`,
      target === "none" ? "" : target,
      target === "none" ? "" : holds === null ? "not measured" : holds ? "holds" : "DOES NOT HOLD",
      note ?? (samples.length > 1 ? `${Math.min(...samples)}..${Math.max(...samples)}, n=${samples.length}` : ""),
    ]),
  );
}
