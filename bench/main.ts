/**
 * `npm run bench -- <name>... [--json] [--quick]`: measures what we promise, beside the peers in the same run. Without a name: everything.
 * Exit code 1 when a figure does not hold; one that could not be measured holds neither way.
 */
import { parseArgs } from "node:util";
import { BenchError } from "./bench-error.ts";
import { buildCheckout } from "./build-checkout.ts";
import { cellRunner, repository } from "./cell.ts";
import { type BenchOptions, type Figure, unmeasured } from "./figure.ts";

const benches: Readonly<Record<string, () => Promise<(options: BenchOptions) => Promise<readonly Figure[]>>>> = {
  embedded: async () => (await import("./figures/embedded.ts")).embedded,
  latency: async () => (await import("./figures/latency.ts")).latency,
  recovery: async () => (await import("./figures/recovery.ts")).recovery,
  reaper: async () => (await import("./figures/reaper.ts")).reaper,
  idle: async () => (await import("./figures/idle.ts")).idle,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "boolean", default: false }, quick: { type: "boolean", default: false } },
});
const unknown = positionals.filter((name) => !Object.hasOwn(benches, name));
if (unknown.length > 0) {
  process.stderr.write(`There is no bench ${unknown.join(", ")}; there are ${Object.keys(benches).join(", ")}.\n`);
  process.exit(2);
}

const interrupt = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(signal, () => interrupt.abort(new BenchError("interrupted", `${signal}: what was started is stopped.`)));

try {
  await measure();
} catch (thrown) {
  if (!(thrown instanceof BenchError)) throw thrown;
  process.stderr.write(`${thrown.code}: ${thrown.message}\n`);
  process.exitCode = thrown.code === "interrupted" ? 130 : 2;
}

async function measure(): Promise<void> {
  await buildCheckout({ name: "the working tree", folder: repository }, interrupt.signal);
  const runCell = cellRunner({ checkout: repository, signal: interrupt.signal });
  const figures: Figure[] = [];
  for (const name of positionals.length === 0 ? Object.keys(benches) : positionals) {
    const bench = await benches[name]?.();
    if (bench === undefined) continue;
    const say = (line: string): void => void process.stderr.write(`${name}: ${line}\n`);
    try {
      figures.push(...(await bench({ quick: values.quick, say, runCell })));
    } catch (thrown) {
      interrupt.signal.throwIfAborted();
      // What the others measured is worth keeping.
      const why = thrown instanceof Error ? thrown.message : String(thrown);
      say(why);
      figures.push(unmeasured(name, "", "", why));
    }
  }
  process.stdout.write(values.json ? `${JSON.stringify({ figures }, undefined, 2)}\n` : table(figures));
  process.exitCode = figures.some(({ holds }) => holds === false) ? 1 : 0;
}

function table(rows: readonly Figure[]): string {
  const cells = rows.map(({ name, value, unit, target, holds, samples, note }) => [
    name,
    value === null ? "-" : `${value} ${unit}`,
    target === "none" ? "" : target,
    target === "none" ? "" : holds === null ? "not measured" : holds ? "holds" : "DOES NOT HOLD",
    note ?? (samples.length > 1 ? `${Math.min(...samples)}..${Math.max(...samples)}, n=${samples.length}` : ""),
  ]);
  const widths = [0, 1, 2, 3].map((column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return `${cells
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n")}\n`;
}
