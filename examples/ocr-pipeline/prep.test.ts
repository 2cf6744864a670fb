import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import sharp from "sharp";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { archiveOf, changeDirectory, picture, replaceBytes } from "./sample-archive.ts";
import { ItemDirectory, readJson, type StepResult } from "./step-process.ts";

// Each test starts real processes, which take their time on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

let item: ItemDirectory;

beforeEach(() => {
  item = new ItemDirectory();
});

afterEach(() => {
  item.remove();
});

async function prep(archive: Uint8Array, env: Record<string, string> = {}): Promise<StepResult> {
  const source = item.file("comic.cbz");
  writeFileSync(source, archive);
  return item.run({ script: "steps/prep.js", source, env });
}

function manifest(): {
  pages: {
    source: string;
    image: string;
    picture: string;
    width: number;
    height: number;
  }[];
  skipped: string[];
} {
  return JSON.parse(readFileSync(path.join(item.workDir, "pages.json"), "utf8"));
}

function expectRefused(result: StepResult, reason: RegExp): void {
  expect(result.stderr).toMatch(reason);
  expect(result).toMatchObject({ exitCode: 65, output: undefined });
  expect(existsSync(path.join(item.workDir, "pages.json"))).toBe(false);
  // Only what the test itself put there: nothing was written beside the work directory.
  expect(readdirSync(item.root).sort()).toEqual(["comic.cbz", "run-1", "work"]);
}

describe("an archive is refused whole", () => {
  test("when an entry climbs out of it", async () => {
    const page = await picture();
    expectRefused(await prep(archiveOf({ "1.png": page, "../../evil.png": page })), /"\.\.\/\.\.\/evil\.png" climbs out/);
    expect(existsSync(path.join(item.root, "..", "evil.png"))).toBe(false);
  });

  test("when an entry climbs out of it with backslashes", async () => {
    expectRefused(await prep(archiveOf({ "..\\evil.png": await picture() })), /climbs out/);
  });

  test("when an entry has an absolute path", async () => {
    expectRefused(await prep(archiveOf({ "/tmp/evil.png": await picture() })), /has an absolute path/);
  });

  test("when an entry has a drive letter", async () => {
    expectRefused(await prep(archiveOf({ "C:\\evil.png": await picture() })), /has an absolute path/);
  });

  test("when an entry is a symbolic link", async () => {
    const link: [Uint8Array, { os: number; attrs: number }] = [Buffer.from("/etc/passwd"), { os: 3, attrs: (0o120777 << 16) >>> 0 }];
    expectRefused(await prep(archiveOf({ "1.png": await picture(), "2.png": link })), /"2\.png" is a link or a device/);
  });

  test("when an entry's name is 10 kB long", async () => {
    expectRefused(await prep(archiveOf({ [`${"n".repeat(10_240)}.png`]: await picture() })), /name is 10244 bytes long/);
  });

  test("when an entry's name is not UTF-8", async () => {
    const archive = replaceBytes(archiveOf({ "caf__.png": await picture() }), { from: "caf__", to: Buffer.from("caf\xe9\xff", "latin1") });
    expectRefused(await prep(archive), /name is not UTF-8/);
  });

  test("when an entry's name holds control characters", async () => {
    expectRefused(await prep(archiveOf({ "1\u001b[2J.png": await picture() })), /control characters/);
  });

  test("when an entry is encrypted", async () => {
    const archive = changeDirectory(archiveOf({ "1.png": await picture() }), (bytes, header) => {
      bytes.writeUInt16LE(bytes.readUInt16LE(header + 8) | 1, header + 8);
    });
    expectRefused(await prep(archive), /is encrypted/);
  });

  test("when an entry is a zip bomb", async () => {
    expectRefused(await prep(archiveOf({ "1.png": new Uint8Array(40 * 1024 * 1024) })), /a zip bomb/);
  });

  test("when an entry unpacks to more than it declares", async () => {
    const archive = changeDirectory(archiveOf({ "1.png": new Uint8Array(8 * 1024 * 1024) }), (bytes, header) => {
      bytes.writeUInt32LE(5_000, header + 24);
    });
    expectRefused(await prep(archive), /cannot be unpacked: too many bytes/);
  });

  test("when an entry or the whole is over its limit", async () => {
    const pages = {
      "1.png": await picture(),
      "2.png": await picture({ colour: "#ff0000" }),
    };
    expectRefused(await prep(archiveOf(pages), { COMIC_ENTRY_BYTES_MAX: "50" }), /at most 50 are read/);
    const next = await prep(archiveOf(pages), { COMIC_TOTAL_BYTES_MAX: "150" });
    expect(next).toMatchObject({ exitCode: 65 });
    expect(next.stderr).toMatch(/unpacks to more than 150 bytes/);
  });

  test("when it is no zip archive, is cut short or holds no picture", async () => {
    expectRefused(await prep(Buffer.from("Rar!\x1a\x07\x01\x00 not a zip")), /not a readable zip archive/);
    const whole = archiveOf({ "1.png": await picture() });
    expect(await prep(whole.subarray(0, whole.length - 30))).toMatchObject({ exitCode: 65 });
    const none = await prep(archiveOf({ "notes.txt": Buffer.from("words") }));
    expect(none).toMatchObject({ exitCode: 65 });
    expect(none.stderr).toMatch(/holds no picture/);
  });

  test("when a page is damaged, no picture at all, or of a kind that cannot be read", async () => {
    const page = Buffer.from(await picture());
    const damaged = changeDirectory(archiveOf({ "1.png": page }), (bytes, header) => {
      bytes.writeUInt32LE(0, header + 16);
    });
    expectRefused(await prep(damaged), /checksum differs/);
    const svg = await prep(archiveOf({ "1.png": Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>') }));
    expect(svg).toMatchObject({ exitCode: 65 });
    expect(svg.stderr).toMatch(/not the picture that its name promises/);
    const bitmap = await prep(archiveOf({ "1.png": page, "2.bmp": Buffer.from("BM") }));
    expect(bitmap).toMatchObject({ exitCode: 65 });
    expect(bitmap.stderr).toMatch(/would lose a page/);
  });
});

test("a source that cannot be reached is a failure to try again, not bad input", async () => {
  const result = await item.run({ script: "steps/prep.js", source: item.file("gone.cbz") });
  expect(result).toMatchObject({ exitCode: 1, output: undefined });
  expect(result.stderr).toMatch(/ENOENT/);
});

test("an entry whose name looks like an option is a page like any other, and no file is called by it", async () => {
  const result = await prep(archiveOf({ "-rf.png": await picture() }));
  expect(result).toMatchObject({ exitCode: 0, output: { pages: 1 } });
  expect(manifest().pages[0]).toMatchObject({ source: "-rf.png", image: "pages/0001.png" });
  expect(readdirSync(path.join(item.workDir, "pages")).sort()).toEqual(["0001.jpg", "0001.png"]);
});

test("pages come in the order in which a reader counts, folder by folder", async () => {
  const names = ["ch10/1.png", "ch2/10.png", "ch2/9.png", "ch2/B 1.png", "ch2/a 2.png", "ch2/001.png"];
  const result = await prep(archiveOf(Object.fromEntries(await Promise.all(names.map(async (name) => [name, await picture()])))));
  expect(result.exitCode).toBe(0);
  expect(manifest().pages.map((page) => page.source)).toEqual([
    "ch2/001.png",
    "ch2/9.png",
    "ch2/10.png",
    "ch2/a 2.png",
    "ch2/B 1.png",
    "ch10/1.png",
  ]);
});

test("what is no page is skipped and said so", async () => {
  const page = await picture();
  await prep(archiveOf({ "1.png": page, "__MACOSX/._1.png": page, ".hidden.png": page, "Thumbs.db": page, "ComicInfo.xml": page }));
  expect(manifest().pages.map((entry) => entry.source)).toEqual(["1.png"]);
  expect(manifest().skipped.sort()).toEqual([".hidden.png", "ComicInfo.xml", "Thumbs.db", "__MACOSX/._1.png"]);
});

test("a page is turned upright, bounded, and written grey for the OCR and in colour for the PDF", async () => {
  const sideways = await sharp({ create: { width: 3_000, height: 1_500, channels: 3, background: "#cc2222" } })
    .withMetadata({ orientation: 6 })
    .jpeg()
    .toBuffer();
  expect(await prep(archiveOf({ "1.jpg": sideways }))).toMatchObject({ exitCode: 0 });
  const [page] = manifest().pages;
  expect(page).toMatchObject({ width: 1_400, height: 2_800 });
  const [grey, colour] = await Promise.all(
    ["0001.png", "0001.jpg"].map((name) => sharp(path.join(item.workDir, "pages", name)).metadata()),
  );
  expect(grey).toMatchObject({ width: 1_400, height: 2_800, channels: 1 });
  expect(colour).toMatchObject({ width: 1_400, height: 2_800, channels: 3 });
});

test("the first beat is written before the input is even opened [A-22]", async () => {
  const started = item.start({ script: "steps/prep.js", source: "x.cbz", env: { WAKEFUL_INPUT_FILE: item.file("nowhere.json") } });
  expect(await started.ended).toMatchObject({ exitCode: 1 });
  expect(readFileSync(started.heartbeatFile, "utf8")).toMatch(/^\d{4}-\d\d-\d\dT\S+Z start\n$/);
  expect(readJson(started.progressFile)).toBeUndefined();
});
