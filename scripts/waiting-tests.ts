import { dirname, join, normalize } from "node:path/posix";
import { type ParsedModule, parseModule } from "./parsed-module.ts";
import { isTestFile, type SourceFile } from "./source-tree.ts";

/** A test file whose outcome may depend on how busy the machine is, and the import or call that makes it one. */
export interface WaitingTest {
  readonly path: string;
  readonly because: string;
}

/** Modules by which code starts processes or threads, talks to others or waits. */
const waitingModules = new Set(
  ["child_process", "cluster", "dgram", "http", "http2", "https", "net", "timers", "timers/promises", "tls", "worker_threads"]
    .flatMap((name) => [name, `node:${name}`])
    .concat("pg"),
);

const timerCall = /(?<![\w.])set(?:Timeout|Interval)\(/;

/**
 * The test files that start processes or wait: they, or a file that they import, load a module for that or set a timer. Doubtful ones
 * count. Pure: the files are given, nothing is read.
 */
export function findWaitingTests(files: readonly SourceFile[]): readonly WaitingTest[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const parsed = new Map<string, ParsedModule>();
  const parsedOf = (file: SourceFile): ParsedModule => {
    const known = parsed.get(file.path) ?? parseModule(file.path, file.text);
    parsed.set(file.path, known);
    return known;
  };
  const reasonFor = (test: SourceFile): string | undefined => {
    const queue = [test];
    const seen = new Set([test.path]);
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      for (const { specifier, typeOnly } of parsedOf(file).imports) {
        if (typeOnly) continue;
        if (waitingModules.has(specifier)) return `${file.path} imports ${specifier}`;
        const target = specifier.startsWith(".") ? byPath.get(normalize(join(dirname(file.path), specifier))) : undefined;
        if (target === undefined || seen.has(target.path)) continue;
        seen.add(target.path);
        queue.push(target);
      }
      // Tests step the clock of the code under test; a test's own timers are real.
      const isOfTests = isTestFile(file.path) || file.path.startsWith("test/");
      if (isOfTests && timerCall.test(file.text)) return `${file.path} sets a timer`;
    }
    return undefined;
  };
  return files
    .filter(({ path }) => isTestFile(path))
    .flatMap((test) => {
      const because = reasonFor(test);
      return because === undefined ? [] : [{ path: test.path, because }];
    });
}
