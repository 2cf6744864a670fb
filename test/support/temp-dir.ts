import { onTestFinished } from "vitest";
import { makeTempDir } from "./temp-dir-maker.ts";

/**
 * A fresh directory that is removed when the running test ends; resolves symbolic links, mode 0700. Call it inside a test; in
 * `beforeAll` or a script use `makeTempDir` of temp-dir-maker.ts.
 */
export function tempDir(label = "test"): string {
  const { path, remove } = makeTempDir(label);
  onTestFinished(remove);
  return path;
}
