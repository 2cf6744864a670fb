import { BenchError, type BenchErrorCode } from "./bench-error.ts";
import { type ChildEnd, runChild } from "./child.ts";

export interface Checkout {
  /** For messages: "the working tree". */
  readonly name: string;
  readonly folder: string;
}

const buildWithinMs = 600_000;
const installWithinMs = 900_000;

/** Makes the checkout's `dist/` as the checkout itself makes it. */
export async function buildCheckout(checkout: Checkout, signal: AbortSignal): Promise<void> {
  const end = await npm(checkout, ["run", "-s", "build"], buildWithinMs, signal);
  if (end.code !== 0) throw failed("build_failed", `${checkout.name} does not build`, end);
}

/** Installs what the checkout's lock file names. */
export async function installCheckout(checkout: Checkout, signal: AbortSignal): Promise<void> {
  const end = await npm(checkout, ["ci", "--no-audit", "--no-fund"], installWithinMs, signal);
  if (end.code !== 0) throw failed("install_failed", `the packages of ${checkout.name} cannot be installed`, end);
}

function npm({ folder }: Checkout, args: readonly string[], timeoutMs: number, signal: AbortSignal): Promise<ChildEnd> {
  return runChild("npm", args, { cwd: folder, signal, timeoutMs });
}

function failed(code: BenchErrorCode, what: string, { out, err }: ChildEnd): BenchError {
  const said = `${out}\n${err}`.trim().split("\n").slice(-20).join("\n");
  return new BenchError(code, `${what}:\n${said}`);
}
