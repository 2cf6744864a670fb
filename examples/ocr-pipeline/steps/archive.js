// @ts-check
import { crc32 } from "node:zlib";
import yauzl from "yauzl";
import { BadInputError } from "./wakeful.js";

/**
 * Reads comic archives that strangers made. Entry names are data: nothing is ever written under a name that came from an
 * archive, and none reaches a command line. What could only be an attack, or cannot be read for certain, is refused whole.
 *
 * @typedef {object} ArchiveLimits
 * @property {number} entriesMax
 * @property {number} entryBytesMax unpacked size of one entry
 * @property {number} totalBytesMax unpacked size of all entries
 * @property {number} ratioMax unpacked to packed size of one entry, looked at above 1 MiB; pictures are packed already
 * @property {number} nameBytesMax
 */

/** @type {Readonly<ArchiveLimits>} */
export const defaultLimits = Object.freeze({
  entriesMax: 5_000,
  entryBytesMax: 64 * 1024 * 1024,
  totalBytesMax: 2 * 1024 * 1024 * 1024,
  ratioMax: 200,
  nameBytesMax: 1_024,
});

const RATIO_FROM_BYTES = 1024 * 1024;
const FILE_TYPE_MASK = 0o170000;
const REGULAR_FILE = 0o100000;
const DIRECTORY = 0o040000;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** @typedef {{ name: string, entry: import("yauzl").Entry }} ListedEntry */

export class Archive {
  /** @type {import("yauzl").ZipFile} */ #zip;
  /** @type {readonly ListedEntry[]} */ entries;

  /**
   * @param {import("yauzl").ZipFile} zip
   * @param {readonly ListedEntry[]} entries
   */
  constructor(zip, entries) {
    this.#zip = zip;
    this.entries = entries;
  }

  /**
   * Opens an archive and reads its whole table of contents. Every entry is judged before the first byte is unpacked.
   *
   * @param {string} file
   * @param {ArchiveLimits} limits
   * @returns {Promise<Archive>}
   * @throws {BadInputError} when the archive is broken, hostile or too large
   */
  static async open(file, limits) {
    const zip = await orBadInput("this is not a readable zip archive", () =>
      yauzl.openPromise(file, { autoClose: false, decodeStrings: false, validateEntrySizes: true }),
    );
    try {
      return new Archive(zip, await orBadInput("the archive's table of contents cannot be read", () => listEntries(zip, limits)));
    } catch (error) {
      zip.close();
      throw error;
    }
  }

  /**
   * Unpacks one entry. Its size was judged when the archive was opened, and the reader stops at an entry that
   * unpacks to more than it declared.
   *
   * @param {ListedEntry} listed
   * @returns {Promise<Buffer>}
   */
  async read({ name, entry }) {
    return orBadInput(`entry ${quote(name)} cannot be unpacked`, async () => {
      const stream = await this.#zip.openReadStreamPromise(entry);
      /** @type {Buffer[]} */ const chunks = [];
      for await (const chunk of stream) chunks.push(chunk);
      const bytes = Buffer.concat(chunks);
      if (crc32(bytes) !== entry.crc32) throw new BadInputError(`entry ${quote(name)} is damaged: its checksum differs`);
      return bytes;
    });
  }

  close() {
    this.#zip.close();
  }
}

/**
 * @param {import("yauzl").ZipFile} zip
 * @param {ArchiveLimits} limits
 */
async function listEntries(zip, limits) {
  if (zip.entryCount > limits.entriesMax)
    throw new BadInputError(`the archive has ${zip.entryCount} entries; at most ${limits.entriesMax} are read`);
  /** @type {ListedEntry[]} */ const entries = [];
  /** @type {Set<string>} */ const names = new Set();
  let totalBytes = 0;
  for await (const entry of zip.eachEntry()) {
    const name = judgedName(entry.fileNameRaw, limits);
    judgeKind(name, entry);
    judgeSize(name, entry, limits);
    totalBytes += entry.uncompressedSize;
    if (totalBytes > limits.totalBytesMax) throw new BadInputError(`the archive unpacks to more than ${limits.totalBytesMax} bytes`);
    if (names.has(name)) throw new BadInputError(`two entries are called ${quote(name)}`);
    names.add(name);
    if (!name.endsWith("/")) entries.push({ name, entry });
  }
  return entries;
}

/**
 * The name as text. Windows tools write `\` between folders, so it counts as `/` before anything is judged.
 *
 * @param {Buffer} raw
 * @param {ArchiveLimits} limits
 */
function judgedName(raw, limits) {
  if (raw.length > limits.nameBytesMax)
    throw new BadInputError(`an entry's name is ${raw.length} bytes long; at most ${limits.nameBytesMax} are read`);
  let name;
  try {
    name = utf8.decode(raw).replaceAll("\\", "/");
  } catch (error) {
    throw new BadInputError(`an entry's name is not UTF-8 (bytes ${raw.subarray(0, 40).toString("hex")})`, { cause: error });
  }
  if (name === "") throw new BadInputError("an entry has no name");
  if (/\p{Cc}/u.test(name)) throw new BadInputError(`entry ${quote(name)} has control characters in its name`);
  if (name.startsWith("/") || /^[A-Za-z]:/.test(name)) throw new BadInputError(`entry ${quote(name)} has an absolute path`);
  if (name.split("/").includes("..")) throw new BadInputError(`entry ${quote(name)} climbs out of the archive with ".."`);
  return name;
}

/**
 * @param {string} name
 * @param {import("yauzl").Entry} entry
 */
function judgeKind(name, entry) {
  if (entry.isEncrypted()) throw new BadInputError(`entry ${quote(name)} is encrypted`);
  // The upper half holds the Unix mode, or zero where the archive was made elsewhere. A link has a mode wherever it was made.
  const type = (entry.externalFileAttributes >>> 16) & FILE_TYPE_MASK;
  if (type !== 0 && type !== REGULAR_FILE && type !== DIRECTORY) {
    throw new BadInputError(`entry ${quote(name)} is a link or a device, not a file`);
  }
}

/**
 * @param {string} name
 * @param {import("yauzl").Entry} entry
 * @param {ArchiveLimits} limits
 */
function judgeSize(name, entry, limits) {
  const { compressedSize, uncompressedSize } = entry;
  if (uncompressedSize > limits.entryBytesMax) {
    throw new BadInputError(`entry ${quote(name)} unpacks to ${uncompressedSize} bytes; at most ${limits.entryBytesMax} are read`);
  }
  if (uncompressedSize > RATIO_FROM_BYTES && uncompressedSize > compressedSize * limits.ratioMax) {
    throw new BadInputError(`entry ${quote(name)} unpacks to more than ${limits.ratioMax} times its size: a zip bomb`);
  }
}

/**
 * Turns what a broken archive makes the reader throw into bad input. An error of the operating system (a full disk, a
 * source that is away) says nothing about the archive; it passes through and may be tried again.
 *
 * @template T
 * @param {string} what
 * @param {() => Promise<T>} read
 * @returns {Promise<T>}
 */
async function orBadInput(what, read) {
  try {
    return await read();
  } catch (error) {
    if (error instanceof BadInputError) throw error;
    if (error instanceof Error && "syscall" in error) throw error;
    throw new BadInputError(`${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

/** @param {string} name */
function quote(name) {
  return JSON.stringify(name.length > 120 ? `${name.slice(0, 120)}...` : name);
}
