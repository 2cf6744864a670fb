import { appendFileSync, renameSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../test/support/temp-dir.ts";
import { limitLog } from "../files/log-limit.ts";
import { readLog } from "./log-reader.ts";

const lines = (from: number, to: number): string => {
  let text = "";
  for (let line = from; line < to; line++) text += `line ${String(line).padStart(6, "0")}\n`;
  return text;
};
const maxBytes = 4096;

/** What a reader that follows sees when `steps` happen, each between two of its looks. */
async function followed(path: string, steps: readonly (() => unknown)[], tailBytes?: number): Promise<string> {
  let step = 0;
  let text = "";
  const reading = readLog({
    path,
    raw: true,
    goesOn: async () => step < steps.length,
    pause: async () => {
      await steps[step]?.();
      step += 1;
    },
    tailBytes,
  });
  for await (const piece of reading) text += piece;
  return text;
}

const numbersOf = (text: string): number[] => [...text.matchAll(/^line (\d{6})$/gm)].map(([, number]) => Number(number));
const upTo = (end: number): number[] => Array.from({ length: end }, (_, index) => index);
const cut = (path: string) => () => limitLog({ path, maxBytes });

test("a log that is cut between two looks goes on where it was: nothing twice, nothing left out", async () => {
  const path = join(tempDir(), "log");
  writeFileSync(path, lines(0, 400));
  const text = await followed(path, [cut(path), () => undefined, () => appendFileSync(path, lines(400, 420))]);
  expect(numbersOf(text)).toEqual(upTo(420));
  expect(text.match(/the log was cut; it goes on where it was/g)).toHaveLength(1);
});

test("a log that has grown past the old place again between two looks goes on in the right place", async () => {
  const path = join(tempDir(), "log");
  writeFileSync(path, lines(0, 400));
  const cutAndRegrown = async () => {
    appendFileSync(path, lines(400, 410));
    await cut(path)();
    appendFileSync(path, lines(410, 900));
  };
  expect(numbersOf(await followed(path, [cutAndRegrown, () => undefined]))).toEqual(upTo(900));
});

test("cut again and again, also while it is read for the first time", async () => {
  const path = join(tempDir(), "log");
  writeFileSync(path, lines(0, 400));
  await cut(path)();
  const steps = [5, 6, 7, 8].flatMap((hundred) => [
    () => appendFileSync(path, lines((hundred - 1) * 100, hundred * 100)),
    cut(path),
    () => undefined,
  ]);
  const seen = numbersOf(await followed(path, steps));
  expect(seen).toEqual(upTo(800).slice(seen[0]));
  expect(seen.length).toBeGreaterThan(500);
});

test("what was cut before it could be shown is counted", async () => {
  const path = join(tempDir(), "log");
  writeFileSync(path, lines(0, 10));
  const outrun = async () => {
    appendFileSync(path, lines(10, 1000));
    await cut(path)();
  };
  const text = await followed(path, [outrun, () => undefined]);
  const missed = Number(/the log was cut: (\d+) bytes are gone that were not shown here/.exec(text)?.[1]);
  const shown = numbersOf(text);
  expect(missed).toBe((1000 - shown.length) * lines(0, 1).length);
  expect([shown[9], shown.at(-1)]).toEqual([9, 999]);
});

test("a tail goes on behind a cut, too", async () => {
  const path = join(tempDir(), "log");
  writeFileSync(path, lines(0, 400));
  const seen = numbersOf(await followed(path, [cut(path), () => undefined, () => appendFileSync(path, lines(400, 410))], 24));
  expect(seen).toEqual(upTo(410).slice(398));
});

test("a log that its command emptied or replaced is read from its new beginning", async () => {
  const path = join(tempDir(), "log");
  writeFileSync(path, lines(0, 10));
  const emptied = () => {
    truncateSync(path, 0);
    appendFileSync(path, lines(20, 22));
  };
  const replaced = () => {
    writeFileSync(`${path}.new`, lines(30, 50));
    renameSync(`${path}.new`, path);
  };
  const text = await followed(path, [emptied, () => undefined, replaced, () => undefined]);
  expect(numbersOf(text)).toEqual([...upTo(10), 20, 21, ...upTo(50).slice(30)]);
});
