import { spanText } from "../../domain/durations.ts";
import { WakefulError } from "../../domain/errors.ts";
import type { DurationMs } from "../../domain/time.ts";
import { ForeignPlace } from "./foreign-place.ts";
import { bytesOf, isLocalType, type Mount, MountTable, parseMounts, readMounts } from "./mounts.ts";
import { type HelperProgram, PathHelper } from "./path-helper.ts";
import type { PathAccess, PathCall, PathOperation } from "./path-operation.ts";

export interface HungPlace {
  /** Where it is mounted. */
  readonly point: string;
  /** The path that did not answer. */
  readonly path: string;
  readonly afterMs: DurationMs;
  /** The process that is held in the call, if it was alive. */
  readonly helperPid: number | undefined;
}

export interface ForeignPathsOptions {
  readonly program: HelperProgram;
  /** Ours, and so never foreign: what is mounted there is needed for everything. */
  readonly dataDir: string;
  readonly limitMs: DurationMs;
  readonly mono: () => number;
  readonly onHung: (hung: HungPlace) => void;
  readonly onAnswers: (answers: { readonly point: string; readonly afterMs: DurationMs }) => void;
  /** Injected by tests. */
  readonly mounts?: (() => string | undefined) | undefined;
}

/** Helpers at once, those included that the kernel does not let go. */
const helpersMax = 16;
/** The name of all paths where the system does not list its mounts. */
const anywhere = "/";

/**
 * Reaches configured paths: those on this machine's own file systems directly, all others through one helper process for each mount
 * (decision 0021). Without such paths there is no helper.
 */
export class ForeignPaths implements PathAccess {
  readonly #options: ForeignPathsOptions;
  readonly #places = new Map<string, ForeignPlace>();
  #table: MountTable | undefined;
  #ownDevice: string | undefined;
  #mounts: string | undefined;

  constructor(options: ForeignPathsOptions) {
    this.#options = options;
  }

  async do<Args, Result>(operation: PathOperation<Args, Result>, args: Args, { paths, signal }: PathCall): Promise<Result> {
    const places = new Map<ForeignPlace, string>();
    for (const path of paths) {
      const place = this.#placeOf(path);
      if (place !== undefined && !places.has(place)) places.set(place, String(path));
    }
    const [first, ...others] = places;
    if (first === undefined) return await operation.run(args, () => undefined);
    for (const [place, path] of places) place.refuseIfHung(path);
    const [place, path] = first;
    const answer = place.call(operation, args, { path, alone: others.length === 0 }).catch((thrown: unknown) => {
      const silent = thrown instanceof WakefulError && thrown.code === "path_unanswered";
      if (silent) for (const [other, otherPath] of others) other.suspect(otherPath, { certain: false });
      throw thrown;
    });
    return await (signal === undefined ? answer : unlessAborted(answer, signal));
  }

  isForeign(path: string): boolean {
    return this.#pointOf(path) !== undefined;
  }

  answers(paths: readonly string[]): boolean {
    return this.#allAnswer() || paths.every((path) => this.#knownPlaceOf(path)?.answers ?? true);
  }

  /** Those of the paths that do not answer, in sentences without a full stop. */
  troublesOf(paths: readonly string[]): readonly string[] {
    if (this.#allAnswer()) return [];
    return paths.flatMap((path) => {
      const ms = this.#knownPlaceOf(path)?.hungForMs;
      return ms === undefined ? [] : [`${path} does not answer for ${spanText(ms)}`];
    });
  }

  /** The places that hang, in words. */
  troubles(): readonly string[] {
    return [...this.#places.values()].flatMap(({ point, hungForMs }) =>
      hungForMs === undefined ? [] : [`${point} does not answer for ${spanText(hungForMs)}: what lies there waits`],
    );
  }

  /** Gives up every call under way, and kills the helpers. */
  close(): void {
    for (const place of this.#places.values()) place.close();
  }

  /** So that the usual case costs no look at the mounts. */
  #allAnswer(): boolean {
    for (const { answers } of this.#places.values()) if (!answers) return false;
    return true;
  }

  #knownPlaceOf(path: string): ForeignPlace | undefined {
    const point = this.#pointOf(path);
    return point === undefined ? undefined : this.#places.get(point);
  }

  #placeOf(path: string | Buffer): ForeignPlace | undefined {
    const point = this.#pointOf(path);
    if (point === undefined) return undefined;
    const known = this.#places.get(point);
    if (known !== undefined) return known;
    const { limitMs, mono, onHung, onAnswers } = this.#options;
    const place = new ForeignPlace({
      point: Buffer.from(point, "latin1").toString("utf8"),
      startHelper: (onGone) => this.#startHelper(onGone),
      limitMs,
      mono,
      onHung: (hung) => onHung({ point: place.point, ...hung }),
      onAnswers: (answers) => onAnswers({ point: place.point, ...answers }),
    });
    this.#places.set(point, place);
    return place;
  }

  #startHelper(onGone: () => void): PathHelper {
    const withHelper = [...this.#places.values()].filter(({ hasHelper }) => hasHelper);
    if (withHelper.length >= helpersMax) {
      const idle = withHelper.find(({ isIdle }) => isIdle);
      if (idle === undefined)
        throw new WakefulError("unavailable", `${helpersMax} helper processes are at work on other foreign file systems: try again soon.`);
      idle.endIdleHelper();
    }
    return new PathHelper(this.#options.program, onGone);
  }

  /** The foreign mount that a path leads to; undefined: it is local. */
  #pointOf(path: string | Buffer): string | undefined {
    this.#readMounts();
    if (this.#table === undefined) return this.#isOwn(String(path)) ? undefined : anywhere;
    const mount = this.#table.mountOf(bytesOf(path), this.#isForeignMount);
    return mount !== undefined && this.#isForeignMount(mount) ? mount.point : undefined;
  }

  readonly #isForeignMount = ({ type, device }: Mount): boolean => !isLocalType(type) && device !== this.#ownDevice;

  #isOwn(path: string): boolean {
    const { dataDir } = this.#options;
    return path === dataDir || path.startsWith(`${dataDir}/`);
  }

  #readMounts(): void {
    const { mounts: read = readMounts, dataDir } = this.#options;
    // Read each time: what was mounted over a local folder a moment ago may not answer. The text seldom changes.
    const mounts = read();
    if (mounts === this.#mounts && this.#table !== undefined) return;
    this.#mounts = mounts;
    this.#table = mounts === undefined ? undefined : new MountTable(parseMounts(mounts));
    // It is needed for everything: where its own disk hangs, nothing is gained by a helper.
    this.#ownDevice ??= this.#table?.mountOf(bytesOf(dataDir), () => false)?.device;
  }
}

async function unlessAborted<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(new WakefulError("unavailable", "The call was not waited for any more."));
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
  try {
    return await Promise.race([answer, aborted]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener("abort", onAbort);
  }
}
