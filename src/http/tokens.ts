import { createHash, timingSafeEqual } from "node:crypto";
import { chmod, link, mkdir, open, readFile, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { hasCode, WakefulError } from "../domain/errors.ts";
import type { RunId } from "../domain/ids.ts";
import { runOfToken, runToken } from "../protocol/run-token.ts";

export interface TokensOptions {
  readonly dataDir: string;
  /** Entropy, injected. */
  readonly randomBytes: (count: number) => Buffer;
}

/** The daemon's own tokens: one for its administrator, and one per run made from a secret. */
export class Tokens {
  readonly #adminDigest: Buffer;
  /** With this a worker makes the tokens of its runs ({@link runToken}). */
  readonly runSecret: Buffer;

  constructor({ admin, runSecret }: { readonly admin: string; readonly runSecret: Buffer }) {
    this.#adminDigest = digestOf(admin);
    this.runSecret = runSecret;
  }

  /** In constant time: digests have one length, whatever was sent. */
  isAdmin(token: string): boolean {
    return timingSafeEqual(digestOf(token), this.#adminDigest);
  }

  runOf(token: string): RunId | undefined {
    return runOfToken(this.runSecret, token);
  }

  ofRun(runId: RunId): string {
    return runToken(this.runSecret, runId);
  }
}

/** Where the admin token of a data directory is; the command line reads it from there. */
export const adminTokenPath = (dataDir: string): string => join(dataDir, "tokens", "admin");

/** Reads the tokens of a data directory, making them at the first start. Files that others could read become private (0600). */
export async function openTokens({ dataDir, randomBytes }: TokensOptions): Promise<Tokens> {
  const directory = join(dataDir, "tokens");
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await chmod(directory, 0o700);
  const secretPath = join(directory, "run-secret");
  const admin = await readOrMake({ path: adminTokenPath(dataDir), randomBytes });
  const runSecret = await readOrMake({ path: secretPath, randomBytes });
  return new Tokens({ admin, runSecret: Buffer.from(runSecret, "base64url") });
}

const tokenBytes = 32;
const tokenPattern = /^[A-Za-z0-9_-]{43,}$/;

async function readOrMake({
  path,
  randomBytes,
}: {
  readonly path: string;
  readonly randomBytes: (count: number) => Buffer;
}): Promise<string> {
  // Written aside and linked into place: a crash leaves the whole token or none, and one of two starts at once wins.
  const draft = `${path}.${randomBytes(6).toString("hex")}`;
  if (!(await exists(path))) {
    const handle = await open(draft, "wx", 0o600);
    try {
      await handle.writeFile(`${randomBytes(tokenBytes).toString("base64url")}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    try {
      await link(draft, path);
    } catch (thrown) {
      if (!hasCode(thrown, "EEXIST")) throw thrown;
    } finally {
      await unlink(draft);
    }
  }
  if (((await stat(path)).mode & 0o077) !== 0) await chmod(path, 0o600);
  const token = (await readFile(path, "utf8")).trim();
  if (!tokenPattern.test(token)) {
    throw new WakefulError("config_invalid", `${path} does not hold a token. Remove it and start again: a new one is made.`, {
      details: { path },
    });
  }
  return token;
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (thrown) {
    if (hasCode(thrown, "ENOENT")) return false;
    throw thrown;
  }
}
const digestOf = (token: string): Buffer => createHash("sha256").update(token).digest();
