import { createHash } from "node:crypto";
import { join } from "node:path";
import { hasCode } from "../domain/errors.ts";
import { readRegular } from "./regular-file.ts";

/** Which data directory a daemon serves, in a form that reveals nothing of it: the same for all who may read the directory. */
export type Installation =
  | { readonly kind: "known"; readonly id: string }
  /** No daemon has ever begun here. */
  | { readonly kind: "none" }
  /** It is not readable or not in order. */
  | { readonly kind: "unknown" };

/** A digest of the random id that a data directory is given at its first start, so that the id itself stays where it is. Never rejects. */
export async function installationOf(dataDir: string): Promise<Installation> {
  try {
    const text = await readRegular(join(dataDir, "host-id"));
    if (text === undefined) return { kind: "none" };
    const id = text.trim();
    if (id === "") return { kind: "unknown" };
    return { kind: "known", id: createHash("sha256").update(`wakeful instance ${id}`).digest("hex").slice(0, 32) };
  } catch (thrown) {
    const isNoDirectory = hasCode(thrown, "ENOTDIR");
    return { kind: isNoDirectory ? "none" : "unknown" };
  }
}
