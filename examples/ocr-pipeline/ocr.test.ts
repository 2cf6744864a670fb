import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { until } from "../../test/support/until.ts";
import { exampleDir, ItemDirectory, readJson, type StartedStep } from "./step-process.ts";

let item: ItemDirectory;

beforeEach(() => {
  item = new ItemDirectory();
});

afterEach(() => {
  item.remove();
});

/** Draws one of the sample comics and runs `prep` on it. */
async function preparedComic(options: { pages: number; name: string }): Promise<string> {
  const made = spawnSync(process.execPath, ["make-comics.js", item.file("in"), "--count", "4", "--pages", String(options.pages)], {
    cwd: exampleDir,
  });
  expect(made.status).toBe(0);
  const source = item.file(`in/${options.name}.cbz`);
  expect(await item.run({ script: "steps/prep.js", source })).toMatchObject({ exitCode: 0, output: { pages: options.pages } });
  return source;
}

function wordFiles(): { name: string; inode: number; mtimeMs: number }[] {
  const directory = path.join(item.workDir, "ocr");
  return readdirSync(directory)
    .filter((name) => name.endsWith(".json"))
    .sort()
    .map((name) => {
      const { ino, mtimeMs } = statSync(path.join(directory, name));
      return { name, inode: ino, mtimeMs };
    });
}

async function progressReaches(started: StartedStep, done: number): Promise<void> {
  const reached = await until(
    () =>
      Number(readJson(started.progressFile)?.["done"] ?? 0) >= done ? "there" : started.process.exitCode === null ? undefined : "over",
    { everyMs: 10, what: `page ${done} to be read` },
  );
  expect(reached, "the step ended before").toBe("there");
}

test("a killed OCR costs at most the page it was reading; no page is recognised twice", async () => {
  const source = await preparedComic({ pages: 4, name: "Robot in the Garden" });
  const first = item.start({ script: "steps/ocr.js", source });
  await progressReaches(first, 2);
  first.process.kill("SIGKILL");
  expect(await first.ended).toMatchObject({ signal: "SIGKILL", output: undefined });
  const kept = wordFiles();
  expect(kept.length).toBeGreaterThanOrEqual(2);
  expect(readdirSync(item.workDir)).not.toContain("final.pdf");

  const second = await item.run({ script: "steps/ocr.js", source });
  expect(second).toMatchObject({ exitCode: 0, output: { pages: 4, reused: kept.length, recognised: 4 - kept.length } });
  expect(wordFiles().slice(0, kept.length)).toEqual(kept);

  // A third run, as after a crash between the PDF and its report, reads nothing at all.
  const third = await item.run({ script: "steps/ocr.js", source });
  expect(third).toMatchObject({ exitCode: 0, output: { reused: 4, recognised: 0 } });
  expect(await item.run({ script: "steps/check-text.js", source })).toMatchObject({ exitCode: 0, stdout: "" });
});

test("a comic goes through all stages without a network, and its PDF says what the comic said", async () => {
  const source = await preparedComic({ pages: 1, name: "Le café de minuit" });
  const noNetwork = `import net from "node:net";
    import { isMainThread } from "node:worker_threads";
    const refuse = () => { throw new Error("the network was used"); };
    net.Socket.prototype.connect = refuse;
    globalThis.fetch = refuse;
    process.stderr.write(isMainThread ? "main thread is offline\\n" : "engine thread is offline\\n");`;
  const ocr = await item.run({
    script: "steps/ocr.js",
    source,
    nodeArguments: ["--import", `data:text/javascript,${encodeURIComponent(noNetwork)}`],
  });
  expect(ocr).toMatchObject({ exitCode: 0, output: { pages: 1, recognised: 1 } });
  expect(ocr.stderr.trim().split("\n").sort()).toEqual(["engine thread is offline", "main thread is offline"]);
  expect(await item.run({ script: "steps/check-text.js", source })).toMatchObject({ exitCode: 0 });

  expect(await item.run({ script: "steps/publish.js", source })).toMatchObject({ exitCode: 0, output: { written: true } });
  expect(readdirSync(item.outDir)).toEqual(["Le café de minuit__job-k1.pdf"]);
  const verified = spawnSync(process.execPath, ["verify-text.js", item.outDir], { cwd: exampleDir, encoding: "utf8" });
  expect(verified.stdout).toMatch(/^ok {3}Le café de minuit__job-k1\.pdf: \d+ of 42 words on 1 pages/);
  expect(verified.status).toBe(0);

  // Published again, as after a crash between the rename and the report: the file stays as it is.
  const published = path.join(item.outDir, "Le café de minuit__job-k1.pdf");
  const before = statSync(published);
  writeFileSync(path.join(item.outDir, ".job-k1.99.part"), "left behind by a killed run");
  expect(await item.run({ script: "steps/publish.js", source })).toMatchObject({ exitCode: 0, output: { written: false } });
  expect(statSync(published)).toMatchObject({ ino: before.ino, mtimeMs: before.mtimeMs });
  expect(readdirSync(item.outDir)).toHaveLength(1);

  // The gate tells a bad PDF from a check that could not be made.
  const check = () => item.run({ script: "steps/check-text.js", source });
  const pdf = path.join(item.workDir, "final.pdf");
  const bytes = readFileSync(pdf);
  writeFileSync(pdf, bytes.subarray(0, 2_000));
  expect(await check()).toMatchObject({ exitCode: 1, stdout: expect.stringMatching(/^final\.pdf /) });
  rmSync(pdf);
  expect(await check()).toMatchObject({ exitCode: 1, stdout: "final.pdf is missing\n" });
  writeFileSync(path.join(item.workDir, "pages.json"), "torn");
  expect(await check()).toMatchObject({ exitCode: 100, stdout: "" });
});

test("words of a torn or foreign file are not believed", async () => {
  const source = await preparedComic({ pages: 1, name: "captain-umbrella" });
  expect(await item.run({ script: "steps/ocr.js", source })).toMatchObject({ output: { recognised: 1 } });
  const file = path.join(item.workDir, "ocr", "0001.json");
  const whole = readFileSync(file, "utf8");
  writeFileSync(file, whole.slice(0, 100));
  expect(await item.run({ script: "steps/ocr.js", source })).toMatchObject({ output: { recognised: 1, reused: 0 } });
  writeFileSync(file, whole.replace(/"sha256":"..../, '"sha256":"0000'));
  expect(await item.run({ script: "steps/ocr.js", source })).toMatchObject({ output: { recognised: 1, reused: 0 } });
});

test("a source's name never leads out of the folder, starts with a dash or outgrows the file system", async () => {
  writeFileSync(path.join(item.workDir, "final.pdf"), "%PDF- enough for a copy");
  for (const name of ["../../evil.cbz", "-rf.cbz", ".hidden.cbz", "a\nb.cbz", `${"é".repeat(200)}.cbz`, ".cbz"]) {
    expect(await item.run({ script: "steps/publish.js", source: "x.cbz", name })).toMatchObject({ exitCode: 0 });
  }
  const tail = "__job-k1.pdf";
  expect(readdirSync(item.outDir).sort()).toEqual(
    [`evil${tail}`, `_rf${tail}`, `_hidden${tail}`, `a_b${tail}`, `${"é".repeat(121)}${tail}`, `comic${tail}`].sort(),
  );
});
