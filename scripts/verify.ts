/**
 * `npm run verify [-- STEP...]` (and `npm test`): every check that a change must pass, here and in CI. Static checks run two at a time,
 * then the tests. The last line is `N passed, N failed, N skipped`.
 */
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { delimiter, join } from "node:path";
import { repositoryRoot } from "./source-tree.ts";
import { type CheckOutcome, totalsLine, totalsOf, type VitestReport } from "./test-totals.ts";

interface Step {
  readonly name: string;
  readonly commands: readonly (readonly [string, ...string[]])[];
  /** The step whose output this one reads. */
  readonly after?: string;
}

const reportPath = join(repositoryRoot, "node_modules/.cache/wakeful/vitest.json");

const staticSteps: readonly Step[] = [
  { name: "types", commands: [["tsc", "--noEmit", "-p", "tsconfig.json"]] },
  { name: "lint", commands: [["oxlint", "--type-aware", "--deny-warnings"]] },
  { name: "architecture", commands: [["tsx", "scripts/check-architecture.ts"]] },
  { name: "tidy", commands: [["tsx", "scripts/check-tidy.ts"]] },
  { name: "format", commands: [["biome", "check", "--error-on-warnings"]] },
  { name: "docs", commands: [["tsx", "scripts/docs.ts", "--check"]] },
  { name: "requirements", commands: [["tsx", "scripts/requirements.ts"]] },
  { name: "unused", commands: [["knip", "--no-progress"]] },
  { name: "build", commands: [["tsx", "scripts/build.ts"]] },
  {
    name: "package",
    after: "build",
    commands: [
      ["publint", "--strict"],
      ["attw", "--pack", ".", "--profile", "esm-only"],
    ],
  },
];
const testStep: Step = {
  name: "tests",
  commands: [["vitest", "run", "--reporter=default", "--reporter=json", `--outputFile.json=${reportPath}`]],
};

const environment = { ...process.env, PATH: `${join(repositoryRoot, "node_modules/.bin")}${delimiter}${process.env["PATH"] ?? ""}` };

/** Runs a step's commands in turn; quiet steps show their output only when they fail. */
async function passes(step: Step, show: "live" | "on failure"): Promise<boolean> {
  for (const [command, ...args] of step.commands) {
    const child = spawn(command, args, {
      cwd: repositoryRoot,
      env: environment,
      stdio: show === "live" ? "inherit" : ["ignore", "pipe", "pipe"],
    });
    const output: Buffer[] = [];
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk: Buffer) => output.push(chunk));
    const code = await new Promise<number | null>((resolve) => {
      child.once("error", (error) => {
        output.push(Buffer.from(`${error.message}\n`));
        resolve(null);
      });
      child.once("close", resolve);
    });
    if (code !== 0) {
      if (output.length > 0) process.stdout.write(`\n--- ${step.name} ---\n${Buffer.concat(output).toString()}\n`);
      return false;
    }
  }
  return true;
}

async function timed(step: Step, show: "live" | "on failure"): Promise<CheckOutcome> {
  const startedMs = performance.now();
  const outcome = (await passes(step, show)) ? "passed" : "failed";
  console.log(`${step.name.padEnd(13)} ${outcome}  ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
  return { name: step.name, outcome };
}

/** Two at a time, in order; a step waits for the one it reads from, and is skipped by name when that failed. */
async function runStatic(steps: readonly Step[]): Promise<CheckOutcome[]> {
  const running = new Map<string, Promise<CheckOutcome>>();
  const outcomes: Promise<CheckOutcome>[] = [];
  const lanes: Promise<unknown>[] = [Promise.resolve(), Promise.resolve()];
  for (const [index, step] of steps.entries()) {
    const lane = index % lanes.length;
    const before = step.after === undefined ? undefined : running.get(step.after);
    const outcome = Promise.all([lanes[lane], before]).then(([, read]): CheckOutcome | Promise<CheckOutcome> => {
      if (read !== undefined && read.outcome !== "passed") return { name: step.name, outcome: { skippedBecause: `${read.name} failed` } };
      return timed(step, "on failure");
    });
    running.set(step.name, outcome);
    lanes[lane] = outcome;
    outcomes.push(outcome);
  }
  return Promise.all(outcomes);
}

function readReport(): VitestReport | undefined {
  try {
    return JSON.parse(readFileSync(reportPath, "utf8")) as VitestReport;
  } catch {
    // Without a report the runner itself failed, which its failed step says.
    return undefined;
  }
}

const wanted = process.argv.slice(2);
const known = [...staticSteps, testStep].map(({ name }) => name);
const unknown = wanted.filter((name) => !known.includes(name));
if (unknown.length > 0) {
  console.error(`no step ${unknown.join(", ")}; there are ${known.join(", ")}`);
  process.exit(2);
}
const isWanted = ({ name }: Step): boolean => wanted.length === 0 || wanted.includes(name);

mkdirSync(join(reportPath, ".."), { recursive: true });
rmSync(reportPath, { force: true });
const checks = await runStatic(staticSteps.filter(isWanted));
const tests = isWanted(testStep) ? await timed(testStep, "live") : undefined;
const report = tests === undefined ? undefined : readReport();

let totals = totalsOf(report, checks);
// An error outside any test (an unhandled rejection, a crashed runner) fails the run without a failed test.
if (tests?.outcome === "failed" && totalsOf(report, []).failed === 0) totals = totalsOf(report, [...checks, tests]);
const { skips, failures } = totals;
if (skips.length > 0) console.log(`\nskipped:\n${skips.map((line) => `  ${line}`).join("\n")}`);
if (failures.length > 0) console.log(`\nfailed:\n${failures.map((line) => `  ${line}`).join("\n")}`);
console.log(`\n${checks.length} checks and the tests together:\n${totalsLine(totals)}`);
process.exitCode = totals.failed === 0 ? 0 : 1;
