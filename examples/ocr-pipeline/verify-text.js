// @ts-check
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { extractPageTexts } from "./steps/pdf-text.js";
import { expectedWords, wordsOf } from "./texts.js";

/**
 * Proves that the PDFs say what the sample comics said: `node verify-text.js OUT_DIR`. Prints one line a file; exit code 0
 * when all are right, 1 when one is not (or there is none), 2 when the folder cannot be read.
 */

/** Share of the known words that must be found on their own page. */
export const recallMin = 0.9;

/**
 * @typedef {object} Verdict
 * @property {boolean} ok
 * @property {number} pages
 * @property {number} expected words that should be there
 * @property {number} found words that are
 * @property {number} recall found / expected, 0 to 1
 * @property {number} worstPageRecall
 * @property {string[]} missing
 */

/**
 * Compares the text of a PDF with the words of its comic. Each word must be found on its own page as often as it stands there;
 * words that are there besides do no harm. So pages in a wrong order fail as surely as unreadable ones.
 *
 * @param {string} file
 * @param {string[][] | ((pageCount: number) => string[][])} expected the words of each page (see `expectedWords`), or a function
 *   that gives them when the number of pages is known
 * @returns {Promise<Verdict>}
 */
export async function verifyPdf(file, expected) {
  const texts = await extractPageTexts(await readFile(file));
  const wordsByPage = typeof expected === "function" ? expected(texts.length) : expected;
  const missing = [];
  let expectedCount = 0;
  let worstPageRecall = 1;
  for (const [index, words] of wordsByPage.entries()) {
    const left = countEach(wordsOf(texts[index] ?? ""));
    let foundHere = 0;
    for (const word of words) {
      const count = left.get(word) ?? 0;
      if (count > 0) {
        left.set(word, count - 1);
        foundHere += 1;
      } else {
        missing.push(word);
      }
    }
    expectedCount += words.length;
    if (words.length > 0) worstPageRecall = Math.min(worstPageRecall, foundHere / words.length);
  }
  const found = expectedCount - missing.length;
  const recall = expectedCount === 0 ? 0 : found / expectedCount;
  const ok = recall >= recallMin && texts.length === wordsByPage.length;
  return { ok, pages: texts.length, expected: expectedCount, found, recall, worstPageRecall, missing };
}

/** @param {string[]} words */
function countEach(words) {
  /** @type {Map<string, number>} */ const counts = new Map();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
}

/** @param {string} directory */
async function verifyFolder(directory) {
  const names = (await readdir(directory)).filter((name) => name.endsWith(".pdf") && !name.startsWith(".")).sort();
  if (names.length === 0) console.log(`no PDF in ${directory}`);
  let isAllOk = names.length > 0;
  for (const name of names) {
    let line, isOk;
    if (expectedWords(name, 1) === undefined) {
      [isOk, line] = [false, "not one of the sample comics"];
    } else {
      try {
        const verdict = await verifyPdf(path.join(directory, name), (pageCount) => expectedWords(name, pageCount) ?? []);
        isOk = verdict.ok;
        line = `${verdict.found} of ${verdict.expected} words on ${verdict.pages} pages (${(100 * verdict.recall).toFixed(1)} %)`;
        if (verdict.missing.length > 0) line += `; missing: ${verdict.missing.slice(0, 8).join(" ")}`;
      } catch (error) {
        [isOk, line] = [false, `cannot be read: ${error instanceof Error ? error.message : String(error)}`];
      }
    }
    console.log(`${isOk ? "ok  " : "FAIL"} ${name}: ${line}`);
    isAllOk &&= isOk;
  }
  return isAllOk;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const directory = process.argv[2];
  if (directory === undefined) {
    console.error("usage: node verify-text.js OUT_DIR");
    process.exitCode = 2;
  } else {
    try {
      process.exitCode = (await verifyFolder(directory)) ? 0 : 1;
    } catch (error) {
      console.error(error instanceof Error ? error.message : String(error));
      process.exitCode = 2;
    }
  }
}
