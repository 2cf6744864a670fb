import { type Zippable, zipSync } from "fflate";
import sharp from "sharp";

/** Test support: archives as strangers send them. */

export async function picture(options: { width?: number; height?: number; colour?: string } = {}): Promise<Uint8Array> {
  const { width = 40, height = 60, colour = "#336699" } = options;
  return sharp({ create: { width, height, channels: 3, background: colour } })
    .png()
    .toBuffer();
}

export function archiveOf(entries: Zippable): Buffer {
  return Buffer.from(zipSync(entries, { mtime: new Date(2020, 0, 1) }));
}

/** Replaces a text by another of the same length wherever it occurs, so that the archive's offsets stay right. */
export function replaceBytes(archive: Buffer, options: { from: string; to: Buffer }): Buffer {
  const from = Buffer.from(options.from);
  if (from.length !== options.to.length) throw new Error("both must have the same length");
  const changed = Buffer.from(archive);
  for (let at = changed.indexOf(from); at !== -1; at = changed.indexOf(from, at + from.length)) options.to.copy(changed, at);
  return changed;
}

/** Calls `change` with the position of every header in the archive's table of contents. */
export function changeDirectory(archive: Buffer, change: (archive: Buffer, header: number) => void): Buffer {
  const signature = Buffer.from("PK\x01\x02", "latin1");
  const changed = Buffer.from(archive);
  for (let at = changed.indexOf(signature); at !== -1; at = changed.indexOf(signature, at + 4)) change(changed, at);
  return changed;
}
