// @ts-check
import { readFile } from "node:fs/promises";
import path from "node:path";
import { readManifest, readRecognised } from "./pages.js";
import { extractPageTexts } from "./pdf-text.js";

/**
 * Gate of stage `ocr`: the PDF opens, has every page, and the words that were recognised can be extracted from it.
 * Exit 0 is green; 1 is red, with the reason on stdout; 100 is unreadable: the check itself could not be made, which says
 * nothing about the PDF. It changes nothing and may run as often as one likes.
 */

/** Share of a page's recognised words that must come out again. Below 1 because a word may be joined with its neighbour. */
const shareMin = 0.9;

const GREEN = 0;
const RED = 1;
const UNREADABLE = 100;

const workDir = process.argv[2] ?? process.env["WAKEFUL_WORK_DIR"] ?? "";
try {
  const reason = await judge(workDir);
  if (reason !== undefined) console.log(reason);
  process.exitCode = reason === undefined ? GREEN : RED;
} catch (error) {
  console.error(`the check could not be made: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = UNREADABLE;
}

/**
 * @param {string} directory
 * @returns {Promise<string | undefined>} why it is red, or undefined when it is green
 */
async function judge(directory) {
  if (directory === "") throw new Error("WAKEFUL_WORK_DIR is not set, and no directory was given");
  const { pages } = await readManifest(directory);
  const bytes = await readPdf(path.join(directory, "final.pdf"));
  if (bytes === undefined) return "final.pdf is missing";
  let texts;
  try {
    texts = await extractPageTexts(bytes);
  } catch (error) {
    return `final.pdf cannot be opened: ${error instanceof Error ? error.message : String(error)}`;
  }
  if (texts.length !== pages.length) return `final.pdf has ${texts.length} pages, the comic has ${pages.length}`;

  for (const [index, page] of pages.entries()) {
    const recognised = await readRecognised(directory, page);
    if (recognised === undefined) return `page ${page.number} has no record of its words`;
    const expected = recognised.lines.reduce((sum, line) => sum + line.length, 0);
    const found = (texts[index] ?? "").split(/\s+/).filter((word) => word !== "").length;
    if (found < expected * shareMin) return `page ${page.number}: ${expected} words were recognised, ${found} can be extracted`;
  }
  return undefined;
}

/**
 * @param {string} file
 * @returns {Promise<Buffer | undefined>}
 */
async function readPdf(file) {
  try {
    return await readFile(file);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
