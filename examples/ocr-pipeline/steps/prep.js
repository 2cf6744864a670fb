// @ts-check
import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import sharp from "sharp";
import { Archive, defaultLimits } from "./archive.js";
import { writeAtomically } from "./atomic-file.js";
import { compareNaturally } from "./natural-order.js";
import { BadInputError, runStep } from "./wakeful.js";

/**
 * Stage `prep`: a comic archive becomes numbered pages. Each page is written twice with the same geometry: `pages/0001.png`,
 * grey and with its contrast stretched, is what the OCR reads; `pages/0001.jpg`, in colour, is what the PDF shows.
 * `pages.json` is written last and names them: pages that no manifest names do not exist for the later stages.
 *
 * @typedef {object} Page
 * @property {number} number counted from 1
 * @property {string} source name of the entry in the archive
 * @property {string} image the grey page, relative to the work directory
 * @property {string} picture the coloured page, relative to the work directory
 * @property {number} width in pixels
 * @property {number} height in pixels
 * @property {string} sha256 of the grey page
 *
 * @typedef {{ version: 1, source: string, pages: Page[], skipped: string[] }} Manifest
 */

const widthMax = 2_000;
const heightMax = 2_800;
/** A picture is refused before it is decoded when it has more pixels than this. */
const pixelsMax = 60_000_000;

const readable = /\.(jpe?g|png|webp|gif|avif|tiff?)$/i;
const unreadable = /\.(bmp|heic|heif|jxl|jp2|svg|psd)$/i;

await runStep(async (step) => {
  const { file, name: sourceName } = step.input.input;
  const archive = await Archive.open(file, limitsFrom(process.env));
  try {
    const { pages: entries, skipped } = chooseImages(archive.entries);
    if (entries.length === 0) throw new BadInputError("the archive holds no picture");
    await mkdir(step.workPath("pages"), { recursive: true });

    /** @type {Page[]} */ const pages = [];
    for (const listed of entries) {
      await step.progress({ done: pages.length, total: entries.length, label: `page ${pages.length + 1} of ${entries.length}` });
      pages.push(await writePage(step, { number: pages.length + 1, source: listed.name, bytes: await archive.read(listed) }));
    }
    /** @type {Manifest} */ const manifest = { version: 1, source: sourceName, pages, skipped };
    await writeAtomically(step.workPath("pages.json"), `${JSON.stringify(manifest, null, 2)}\n`);
    await step.progress({ done: pages.length, total: pages.length, label: "pages written" });
    return { pages: pages.length, skipped: skipped.length };
  } finally {
    archive.close();
  }
});

/** @param {readonly import("./archive.js").ListedEntry[]} entries */
function chooseImages(entries) {
  /** @type {import("./archive.js").ListedEntry[]} */ const pages = [];
  /** @type {string[]} */ const skipped = [];
  for (const listed of entries) {
    const parts = listed.name.split("/");
    // Hidden files and the extra copies that macOS adds look like pictures by their names, but are none.
    const isHidden = parts.some((part) => part.startsWith(".")) || parts.includes("__MACOSX");
    if (!isHidden && unreadable.test(listed.name)) {
      throw new BadInputError(`${JSON.stringify(listed.name)} is a kind of picture that cannot be read; the comic would lose a page`);
    }
    if (!isHidden && readable.test(listed.name)) pages.push(listed);
    else skipped.push(listed.name);
  }
  pages.sort((a, b) => compareNaturally(a.name, b.name));
  return { pages, skipped };
}

/**
 * @param {import("./wakeful.js").Step} step
 * @param {{ number: number, source: string, bytes: Buffer }} page
 * @returns {Promise<Page>}
 */
async function writePage(step, { number, source, bytes }) {
  if (!looksLikePicture(bytes)) throw new BadInputError(`${JSON.stringify(source)} is not the picture that its name promises`);
  const stem = `pages/${String(number).padStart(4, "0")}`;
  let upright, grey;
  try {
    upright = await sharp(bytes, { limitInputPixels: pixelsMax, failOn: "error" })
      .rotate() // by the camera's note in EXIF, which is dropped afterwards
      .flatten({ background: "white" })
      .resize({ width: widthMax, height: heightMax, fit: "inside", withoutEnlargement: true })
      .toColourspace("srgb")
      .raw()
      .toBuffer({ resolveWithObject: true });
    grey = await fromRaw(upright).greyscale().normalise().toColourspace("b-w").png({ compressionLevel: 6 }).toBuffer();
  } catch (error) {
    throw new BadInputError(
      `picture ${JSON.stringify(source)} cannot be decoded: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
      },
    );
  }
  const picture = await fromRaw(upright).jpeg({ quality: 85 }).toBuffer();
  await writeAtomically(step.workPath(`${stem}.png`), grey);
  await writeAtomically(step.workPath(`${stem}.jpg`), picture);
  return {
    number,
    source,
    image: `${stem}.png`,
    picture: `${stem}.jpg`,
    width: upright.info.width,
    height: upright.info.height,
    sha256: createHash("sha256").update(grey).digest("hex"),
  };
}

/** @param {{ data: Buffer, info: import("sharp").OutputInfo }} raw */
function fromRaw({ data, info: { width, height, channels } }) {
  return sharp(data, { raw: { width, height, channels } });
}

/**
 * Looks at the first bytes, so that the decoder never meets a format that was not meant (an SVG called `1.png`, say, which
 * may draw other files).
 *
 * @param {Buffer} bytes
 */
function looksLikePicture(bytes) {
  const head = bytes.subarray(0, 16).toString("latin1");
  return (
    head.startsWith("\xff\xd8\xff") ||
    head.startsWith("\x89PNG\r\n\x1a\n") ||
    head.startsWith("GIF8") ||
    (head.startsWith("RIFF") && head.slice(8, 12) === "WEBP") ||
    (head.slice(4, 8) === "ftyp" && head.slice(8, 12).startsWith("avi")) ||
    head.startsWith("II*\0") ||
    head.startsWith("MM\0*")
  );
}

/** @param {NodeJS.ProcessEnv} env */
function limitsFrom(env) {
  return {
    ...defaultLimits,
    entryBytesMax: positiveNumber(env, "COMIC_ENTRY_BYTES_MAX", defaultLimits.entryBytesMax),
    totalBytesMax: positiveNumber(env, "COMIC_TOTAL_BYTES_MAX", defaultLimits.totalBytesMax),
  };
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {string} name
 * @param {number} fallback
 */
function positiveNumber(env, name, fallback) {
  const text = env[name];
  if (text === undefined || text === "") return fallback;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value <= 0) throw new Error(`${name} must be a whole number above zero, not ${JSON.stringify(text)}`);
  return value;
}
