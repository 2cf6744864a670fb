// @ts-check
import { mkdir, rename, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { createCanvas, GlobalFonts } from "@napi-rs/canvas";
import { zipSync } from "fflate";
import { comicAt, defaultPageCount, pagesOf } from "./texts.js";

/**
 * Writes sample comics: `node make-comics.js DIR [--count N] [--pages M]`. The same numbers always give the same files, byte
 * for byte. Each one is written as `<name>.cbz.part` and renamed when it is whole, as a good citizen of a watched folder does.
 */

const require = createRequire(import.meta.url);
const width = 1_000;
const height = 1_400;
const margin = 40;
const fontFamily = "Comic Neue";

/**
 * @param {string} directory
 * @param {{ count?: number, pages?: number }} [options]
 * @returns {Promise<string[]>} the files' paths
 */
export async function makeComics(directory, { count = 4, pages = defaultPageCount } = {}) {
  registerFont();
  await mkdir(directory, { recursive: true });
  /** @type {string[]} */ const files = [];
  for (let index = 0; index < count; index += 1) {
    const comic = comicAt(index);
    /** @type {Record<string, Uint8Array>} */ const entries = {};
    for (const [pageIndex, page] of pagesOf(comic, pages).entries()) {
      entries[comic.story.entryName(pageIndex + 1)] = await drawPage(page, {
        hue: index * 67 + pageIndex * 11,
        format: comic.story.format,
      });
    }
    // What such archives carry in real life besides pictures.
    entries["ComicInfo.xml"] = new TextEncoder().encode(`<ComicInfo><Title>${comic.story.title}</Title></ComicInfo>\n`);
    entries["Thumbs.db"] = new Uint8Array([0xd0, 0xcf, 0x11, 0xe0]);
    entries["__MACOSX/._cover.png"] = new Uint8Array([0, 5, 22, 7]);
    const file = path.join(directory, `${comic.fileName}.cbz`);
    await writeFile(`${file}.part`, zipSync(entries, { level: 0, mtime: new Date(2020, 0, 1) }));
    await rename(`${file}.part`, file);
    files.push(file);
  }
  return files;
}

/** A fresh machine may have no font at all; this one comes with the example. */
function registerFont() {
  if (GlobalFonts.has(fontFamily)) return;
  const file = require.resolve("@fontsource/comic-neue/files/comic-neue-latin-700-normal.woff2");
  if (GlobalFonts.registerFromPath(file, fontFamily) === null) throw new Error(`the font ${file} cannot be read`);
}

/**
 * @param {import("./texts.js").ComicPage} page
 * @param {{ hue: number, format: "png" | "jpeg" | "webp" }} look
 * @returns {Promise<Uint8Array>}
 */
async function drawPage({ title, panels }, { hue, format }) {
  const canvas = createCanvas(width, height);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fdfbf4";
  context.fillRect(0, 0, width, height);

  context.fillStyle = "#1c1c1c";
  context.font = `bold 34px "${fontFamily}"`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(title, width / 2, 60);

  const top = 110;
  const gap = 24;
  const panelHeight = (height - top - margin - gap * (panels.length - 1)) / panels.length;
  for (const [index, text] of panels.entries()) {
    const panel = { x: margin, y: top + index * (panelHeight + gap), width: width - 2 * margin, height: panelHeight };
    drawScene(context, panel, { hue: hue + index * 40, isMirrored: index % 2 === 1 });
    drawBubble(context, panel, { text, isMirrored: index % 2 === 1 });
    context.strokeStyle = "#1c1c1c";
    context.lineWidth = 5;
    context.strokeRect(panel.x, panel.y, panel.width, panel.height);
  }
  if (format === "png") return canvas.encode("png");
  return format === "jpeg" ? canvas.encode("jpeg", 90) : canvas.encode("webp", 90);
}

/** @typedef {import("@napi-rs/canvas").SKRSContext2D} Context */
/** @typedef {{ x: number, y: number, width: number, height: number }} Box */

/**
 * A sky, a moon, two hills and somebody who speaks.
 *
 * @param {Context} context
 * @param {Box} panel
 * @param {{ hue: number, isMirrored: boolean }} look
 */
function drawScene(context, panel, { hue, isMirrored }) {
  context.save();
  context.beginPath();
  context.rect(panel.x, panel.y, panel.width, panel.height);
  context.clip();

  const sky = context.createLinearGradient(0, panel.y, 0, panel.y + panel.height);
  sky.addColorStop(0, `hsl(${hue}, 55%, 72%)`);
  sky.addColorStop(1, `hsl(${hue + 30}, 65%, 86%)`);
  context.fillStyle = sky;
  context.fillRect(panel.x, panel.y, panel.width, panel.height);

  const moonX = panel.x + panel.width * (isMirrored ? 0.12 : 0.88);
  disc(context, { x: moonX, y: panel.y + 70, radius: 38, fill: "#fff6cf" });
  disc(context, { x: panel.x + panel.width * 0.25, y: panel.y + panel.height + 190, radius: 320, fill: `hsl(${hue + 90}, 35%, 52%)` });
  disc(context, { x: panel.x + panel.width * 0.8, y: panel.y + panel.height + 240, radius: 360, fill: `hsl(${hue + 110}, 35%, 44%)` });

  const speakerX = panel.x + panel.width * (isMirrored ? 0.72 : 0.24);
  const ground = panel.y + panel.height - 28;
  context.fillStyle = `hsl(${hue + 180}, 45%, 40%)`;
  context.beginPath();
  context.roundRect(speakerX - 34, ground - 74, 68, 96, 26);
  context.fill();
  disc(context, { x: speakerX, y: ground - 98, radius: 32, fill: "#f3cfa8" });
  disc(context, { x: speakerX - 11, y: ground - 102, radius: 4, fill: "#1c1c1c" });
  disc(context, { x: speakerX + 11, y: ground - 102, radius: 4, fill: "#1c1c1c" });
  context.restore();
}

/**
 * @param {Context} context
 * @param {Box} panel
 * @param {{ text: string, isMirrored: boolean }} speech
 */
function drawBubble(context, panel, { text, isMirrored }) {
  context.font = `bold 38px "${fontFamily}"`;
  const lines = wrap(context, text, 560);
  const lineHeight = 50;
  const padding = 36;
  const bubbleWidth = Math.max(...lines.map((line) => context.measureText(line).width)) + 2 * padding;
  const bubbleHeight = lines.length * lineHeight + 2 * padding - 12;
  const x = isMirrored ? panel.x + panel.width - bubbleWidth - 110 : panel.x + 110;
  const y = panel.y + 26;

  const tailX = panel.x + panel.width * (isMirrored ? 0.72 : 0.24);
  context.fillStyle = "#ffffff";
  context.strokeStyle = "#1c1c1c";
  context.lineWidth = 4;
  context.beginPath();
  context.roundRect(x, y, bubbleWidth, bubbleHeight, 40);
  context.fill();
  context.stroke();
  context.beginPath();
  context.moveTo(tailX - 18, y + bubbleHeight - 3);
  context.lineTo(tailX, y + bubbleHeight + 34);
  context.lineTo(tailX + 18, y + bubbleHeight - 3);
  context.fill();
  context.stroke();

  context.fillStyle = "#111111";
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (const [index, line] of lines.entries()) {
    context.fillText(line, x + bubbleWidth / 2, y + padding - 6 + lineHeight * (index + 0.5));
  }
}

/**
 * @param {Context} context
 * @param {{ x: number, y: number, radius: number, fill: string }} disc
 */
function disc(context, { x, y, radius, fill }) {
  context.fillStyle = fill;
  context.beginPath();
  context.arc(x, y, radius, 0, Math.PI * 2);
  context.fill();
}

/**
 * @param {Context} context
 * @param {string} text
 * @param {number} widthMax
 */
function wrap(context, text, widthMax) {
  /** @type {string[]} */ const lines = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (line !== "" && context.measureText(longer).width > widthMax) {
      lines.push(line);
      line = word;
    } else {
      line = longer;
    }
  }
  lines.push(line);
  return lines;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const usage = "usage: node make-comics.js DIR [--count N] [--pages M]   (N from 1 to 1000, M from 1 to 200)";
  const numberIn = (/** @type {string | undefined} */ text, /** @type {number} */ fallback, /** @type {number} */ max) => {
    const value = Number(text ?? fallback);
    if (!Number.isInteger(value) || value < 1 || value > max) throw new RangeError(usage);
    return value;
  };
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { count: { type: "string" }, pages: { type: "string" } },
    });
    const directory = positionals[0];
    if (directory === undefined || positionals.length > 1) throw new RangeError(usage);
    const options = { count: numberIn(values.count, 4, 1_000), pages: numberIn(values.pages, defaultPageCount, 200) };
    for (const file of await makeComics(directory, options)) console.log(file);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exitCode = 1;
  }
}
