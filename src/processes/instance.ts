import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Which data directory a daemon serves, as far as anybody may know: the same for all who may read the directory, and telling nothing of it. */
export type Instance =
  | { readonly kind: "known"; readonly id: string }
  /** No daemon has ever begun here. */
  | { readonly kind: "none" }
  /** It may not be looked at, or is not in order: then nobody can tell. */
  | { readonly kind: "unknown" };

/** A digest of the random id that a data directory is given at its first start, so that the id itself stays where it is. */
export function instanceOf(dataDir: string): Instance {
  try {
    const id = readFileSync(join(dataDir, "host-id"), "utf8").trim();
    return id === ""
      ? { kind: "unknown" }
      : { kind: "known", id: createHash("sha256").update(`wakeful instance ${id}`).digest("hex").slice(0, 32) };
  } catch (thrown) {
    const missing = thrown instanceof Error && "code" in thrown && (thrown.code === "ENOENT" || thrown.code === "ENOTDIR");
    return { kind: missing ? "none" : "unknown" };
  }
}
