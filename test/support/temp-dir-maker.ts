import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A fresh directory (mode 0700, symbolic links resolved) and the call that removes it with everything in it. Needs no test runner. */
export function makeTempDir(label = "test"): { readonly path: string; readonly remove: () => void } {
  // Resolved, because on macOS the temporary folder is a link and processes report their real directory.
  const path = realpathSync(mkdtempSync(join(tmpdir(), `wakeful-${label}-`)));
  // Retried: a process that was just killed may still be writing its last file into the directory.
  return { path, remove: () => rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 }) };
}
