// @ts-check
import { readFile } from "node:fs/promises";
import path from "node:path";

/**
 * What one stage tells the next about the pages: the manifest that `prep` writes, and one file of recognised words a page.
 *
 * @typedef {object} Word
 * @property {string} text
 * @property {number} x0 left edge in pixels of the page image
 * @property {number} y0 top edge
 * @property {number} x1 right edge
 * @property {number} y1 bottom edge
 *
 * @typedef {object} RecognisedPage
 * @property {string} sha256 of the page image that was read
 * @property {string} recogniser engine, data and settings; another one makes the file worthless
 * @property {Word[][]} lines in reading order
 */

/**
 * @param {string} workDir
 * @returns {Promise<import("./prep.js").Manifest>}
 */
export async function readManifest(workDir) {
  const manifest = JSON.parse(await readFile(path.join(workDir, "pages.json"), "utf8"));
  if (manifest?.version !== 1 || !Array.isArray(manifest.pages))
    throw new Error("pages.json is not a manifest of this version; run prep again");
  return manifest;
}

/**
 * @param {string} workDir
 * @param {number} number
 */
export function recognisedPath(workDir, number) {
  return path.join(workDir, "ocr", `${String(number).padStart(4, "0")}.json`);
}

/**
 * The words of a page that was recognised before, or undefined when there are none that can be trusted: the file is
 * missing or torn, or belongs to another image or another recogniser.
 *
 * @param {string} workDir
 * @param {{ number: number, sha256: string }} page
 * @param {string} [recogniser] any when omitted
 * @returns {Promise<RecognisedPage | undefined>}
 */
export async function readRecognised(workDir, page, recogniser) {
  let text;
  try {
    text = await readFile(recognisedPath(workDir, page.number), "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
  try {
    /** @type {RecognisedPage} */ const recognised = JSON.parse(text);
    const fits = recognised.sha256 === page.sha256 && (recogniser === undefined || recognised.recogniser === recogniser);
    return fits && Array.isArray(recognised.lines) ? recognised : undefined;
  } catch {
    // Torn by a power cut. The page is simply recognised again.
    return undefined;
  }
}
