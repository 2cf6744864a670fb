import { constants } from "node:fs";
import { open } from "node:fs/promises";
import type { PathAccess, PathOperation } from "../files/foreign/path-operation.ts";
import type { IntakeDefinition } from "../pipelines/definition.ts";
import type { FoundFile } from "./watched-folder.ts";

/** Whether a file may come in. A file is never refused for low disk, which is no fault of its own: it waits. */
export type IntakeAnswer =
  | { readonly kind: "take" }
  | { readonly kind: "reject"; readonly counter: "input_rejected_size" | "input_rejected_signature"; readonly reason: string }
  | { readonly kind: "wait"; readonly reason: string; readonly freeBytes: number; readonly needBytes: number };

/** Checks size, first bytes and free disk, in this order: the cheapest and most certain refusal first. */
export async function checkFile(
  file: FoundFile,
  intake: IntakeDefinition,
  { access, freeBytesOf }: { readonly access: PathAccess; readonly freeBytesOf: () => Promise<number> },
): Promise<IntakeAnswer> {
  if (file.sizeBytes > intake.maxBytes) {
    return {
      kind: "reject",
      counter: "input_rejected_size",
      reason: `it has ${file.sizeBytes} bytes, at most ${intake.maxBytes} are taken`,
    };
  }
  if (intake.signature !== undefined) {
    const count = Math.max(...intake.signature.map((hex) => hex.length / 2));
    const begins = await access.do(readFirstBytes, { path: file.path, count }, { paths: [file.path] });
    if (!intake.signature.some((hex) => begins.startsWith(hex))) {
      return {
        kind: "reject",
        counter: "input_rejected_signature",
        reason: `it begins with ${begins === "" ? "nothing" : begins}, and only ${intake.signature.join(" or ")} is taken`,
      };
    }
  }
  const needBytes = Math.ceil(file.sizeBytes * intake.diskFreeFactor);
  const freeBytes = await freeBytesOf();
  if (freeBytes >= needBytes) return { kind: "take" };
  return { kind: "wait", reason: `${freeBytes} bytes of disk are free, ${needBytes} are needed`, freeBytes, needBytes };
}

/** In hexadecimal; fewer than `count` where the file is shorter. */
export const readFirstBytes: PathOperation<{ readonly path: Buffer; readonly count: number }, string> = {
  name: "read-first-bytes",
  run: async ({ path, count }) => {
    // Another file may have taken this path since the listing: a FIFO must not block the loop, a link not lead it away.
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(count), 0, count, 0);
      return buffer.toString("hex", 0, bytesRead);
    } finally {
      await file.close();
    }
  },
};
