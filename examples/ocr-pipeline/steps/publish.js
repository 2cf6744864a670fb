// @ts-check
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { copyFile, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { runStep } from "./wakeful.js";

/**
 * Stage `publish`: puts `final.pdf` into the folder named by OUT_DIR, as `<name>__job-<item key>.pdf`. Whoever watches that
 * folder sees either no file or the whole one. Repeating it changes nothing: the same bytes under the same name stay as they are.
 */
await runStep(async (step) => {
  const outDir = path.resolve(process.env["OUT_DIR"] || "out");
  const target = path.join(outDir, publishedName(step.input.input.name, step.itemKey));
  const temporaryPrefix = `.job-${step.itemKey}.`;
  const source = step.workPath("final.pdf");
  await mkdir(outDir, { recursive: true });
  // A run that was killed while copying leaves a hidden part of this item behind; nobody else writes under its key.
  for (const name of await readdir(outDir)) {
    if (name.startsWith(temporaryPrefix) && name.endsWith(".part")) await rm(path.join(outDir, name), { force: true });
  }

  const digest = await sha256(source);
  if (digest === undefined) throw new Error(`${source} does not exist: stage ocr has not finished`);
  if ((await sha256(target)) === digest) return { file: target, sha256: digest, written: false };

  step.moved("copying");
  const temporary = path.join(outDir, `${temporaryPrefix}${process.pid}.part`);
  await copyFile(source, temporary);
  await syncToDisk(temporary);
  if ((await sha256(temporary)) !== digest) throw new Error(`the copy of ${source} differs from it`);
  await rename(temporary, target);
  return { file: target, sha256: digest, written: true };
});

/**
 * A file name from a name that came from outside: no folder, no leading dash or dot, no control characters, and short enough
 * for a file system with 255 bytes a name. The key keeps apart what the name does not.
 *
 * @param {string} sourceName
 * @param {string} itemKey
 */
function publishedName(sourceName, itemKey) {
  const tail = `__job-${itemKey}.pdf`;
  const plain = path
    .basename(sourceName.replaceAll("\\", "/"))
    .replace(/\.cbz$/i, "")
    .replace(/\p{Cc}/gu, "_")
    .replace(/^[-.]+/, "_");
  let name = "";
  for (const character of plain) {
    if (Buffer.byteLength(name + character + tail) > 255) break;
    name += character;
  }
  return `${name || "comic"}${tail}`;
}

/**
 * @param {string} file
 * @returns {Promise<string | undefined>} undefined when there is no such file
 */
async function sha256(file) {
  const hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(file)) hash.update(chunk);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
  return hash.digest("hex");
}

/** @param {string} file */
async function syncToDisk(file) {
  const handle = await open(file, "r+");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
