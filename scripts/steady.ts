/**
 * `npm run steady -- [--times 20] [--load] [FILE...]`: repeats each test file that starts processes or waits (waiting-tests.ts); prints
 * each failing test's first output. `--load` keeps every core busy; FILEs, or parts of paths, choose. Not part of `npm test`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { createVitest, type TestModule } from "vitest/node";
import { readSources, repositoryRoot } from "./source-tree.ts";
import { findWaitingTests } from "./waiting-tests.ts";

interface Thrown {
  readonly name?: string | undefined;
  readonly message: string;
  readonly stack?: string | undefined;
  readonly diff?: string | undefined;
}

interface Failure {
  /** The file and the test's full name. */
  readonly name: string;
  readonly errors: readonly Thrown[];
}

const outsideOfTests = "outside of any test";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { times: { type: "string", default: "20" }, load: { type: "boolean", default: false } },
});
const times = Number(values.times);
const folders = ["src", "test", "scripts", "bench", "examples"];
const chosen = findWaitingTests(readSources({ folders, endings: [".ts"] }))
  .map(({ path }) => path)
  .filter((path) => positionals.length === 0 || positionals.some((part) => path.includes(part)));

if (!Number.isInteger(times) || times < 1) refuse(`--times ${values.times}: give a whole number of rounds`);
else if (chosen.length === 0) refuse(`no test that starts processes or waits has a path with ${positionals.join(" or ")}`);
else await underLoad(values.load, async () => await runRounds(chosen));

function refuse(message: string): void {
  console.error(message);
  process.exitCode = 2;
}

/** With one busy process per core. Each ends by itself once this process is gone, even after a kill. */
async function underLoad(load: boolean, body: () => Promise<void>): Promise<void> {
  const busy = `
    const parent = process.ppid;
    const work = () => {
      for (const end = performance.now() + 100; performance.now() < end; );
      if (process.ppid === parent) setImmediate(work);
    };
    work();`;
  const cores = load ? availableParallelism() : 0;
  const children = Array.from({ length: cores }, (): ChildProcess => spawn(process.execPath, ["--eval", busy], { stdio: "ignore" }));
  try {
    await body();
  } finally {
    for (const child of children) child.kill("SIGKILL");
  }
}

async function runRounds(files: readonly string[]): Promise<void> {
  const vitest = await createVitest("test", { root: repositoryRoot, watch: false, reporters: [{}], silent: true });
  const paths = new Set(files.map((path) => join(repositoryRoot, path)));
  const specifications = (await vitest.globTestSpecifications()).filter(({ moduleId }) => paths.has(moduleId));
  const failedRounds = new Map<string, number>();
  let rounds = 0;
  const tell = (): void => {
    for (const [name, count] of failedRounds) console.log(`failed in ${count} of ${rounds} rounds: ${name}`);
    const failed = [...failedRounds.values()].reduce((sum, count) => sum + count, 0);
    console.log(`\n${files.length} test files, ${rounds} of ${times} rounds, ${failed} failures`);
    process.exitCode = failed === 0 && rounds === times ? 0 : 1;
  };
  // Vitest ends the process then; the results so far are printed first.
  process.once("SIGINT", tell);
  while (rounds < times) {
    const startedMs = performance.now();
    const { testModules, unhandledErrors } = await vitest.runTestSpecifications(specifications);
    const failures = testModules.flatMap(failuresOf);
    if (unhandledErrors.length > 0) failures.push({ name: outsideOfTests, errors: unhandledErrors as Thrown[] });
    rounds += 1;
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
    console.log(`round ${rounds}: ${failures.length === 0 ? "passed" : `${failures.length} failed`}, ${seconds} s`);
    for (const { name, errors } of failures) {
      const before = failedRounds.get(name) ?? 0;
      failedRounds.set(name, before + 1);
      if (before === 0) console.log(`\n--- ${name} ---\n${errors.map(textOf).join("\n")}\n`);
    }
  }
  await vitest.close();
  tell();
}

/** The failed tests of a file; the file itself where it could not be loaded, or failed outside of its tests. */
function failuresOf(module: TestModule): Failure[] {
  const file = relative(repositoryRoot, module.moduleId);
  const failed = [...module.children.allTests("failed")].map((test) => ({
    name: `${file} > ${test.fullName}`,
    errors: (test.result().errors ?? []) as readonly Thrown[],
  }));
  const own = module.errors() as readonly Thrown[];
  return own.length === 0 ? failed : [{ name: file, errors: own }, ...failed];
}

/** The stack begins with another text than the message where Vitest itself has ended the test. */
function textOf({ name = "Error", message, stack = "", diff }: Thrown): string {
  const calls = stack.split("\n").filter((line) => /^\s+at /.test(line));
  return [`${name}: ${message}`, ...(diff === undefined ? [] : [diff]), ...calls].join("\n");
}
