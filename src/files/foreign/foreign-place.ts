import { constants } from "node:fs";
import { lstat, open, opendir, statfs } from "node:fs/promises";
import { WakefulError } from "../../domain/errors.ts";
import { type DurationMs, minutes, seconds } from "../../domain/time.ts";
import type { PathHelper } from "./path-helper.ts";
import type { PathOperation } from "./path-operation.ts";

export interface ForeignPlaceOptions {
  /** Where it is mounted; for people and for asking whether it answers. */
  readonly point: string;
  /** @throws {WakefulError} `unavailable`: too many helpers are at work. */
  readonly startHelper: (onGone: () => void) => PathHelper;
  /** How long a call may give no sign. */
  readonly limitMs: DurationMs;
  readonly mono: () => number;
  readonly onHung: (hung: { readonly path: string; readonly afterMs: DurationMs; readonly helperPid: number | undefined }) => void;
  readonly onAnswers: (answers: { readonly afterMs: DurationMs }) => void;
}

/** The threads of a helper: a call beyond them would wait inside it, where nobody sees it wait. */
const callsAtOnce = 4;
/** A call without a sign for so long counts as slow: nothing that can wait is begun beside it. */
const slowAfterMs: DurationMs = 100;
const idleMs: DurationMs = minutes(1);
const firstProbeMs: DurationMs = seconds(1);
const longestProbeMs: DurationMs = minutes(1);
/** A limit is counted in so many looks: time in which this process stood still is one look at most. */
const looksPerLimit = 10;

/** Asks a place whether it answers, by what calls to it do: about itself, and about the path that did not answer. */
export const probePlace: PathOperation<{ readonly point: string; readonly path: string }, void> = {
  name: "probe-place",
  run: async ({ point, path }) => {
    await statfs(point);
    const found = await lstat(path);
    if (found.isDirectory()) {
      const folder = await opendir(path);
      try {
        await folder.read();
      } finally {
        await folder.close();
      }
    } else if (found.isFile()) {
      const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
      try {
        await file.read(Buffer.alloc(1), 0, 1, 0);
      } finally {
        await file.close();
      }
    }
  },
};

interface UnderWay {
  readonly path: string;
  readonly giveUp: (thrown: Error) => void;
  aliveAt: number;
}

interface Hung {
  readonly path: string;
  readonly since: number;
  probes: number;
  told: boolean;
}

/**
 * One foreign mount, with at most one helper process. It answers, or it hangs: then calls are refused at once, and probes ask with
 * growing pauses whether it answers again. An error is an answer.
 */
export class ForeignPlace {
  readonly point: string;
  readonly #options: ForeignPlaceOptions;
  #helper: PathHelper | undefined;
  readonly #underWay = new Set<UnderWay>();
  readonly #queue: { readonly begin: () => void; readonly giveUp: (thrown: Error) => void }[] = [];
  #hung: Hung | undefined;
  #idle: NodeJS.Timeout | undefined;
  #probe: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: ForeignPlaceOptions) {
    this.point = options.point;
    this.#options = options;
  }

  /** Undefined: it answers, as far as is known. */
  get hungForMs(): DurationMs | undefined {
    return this.#hung === undefined ? undefined : this.#options.mono() - this.#hung.since;
  }

  get answers(): boolean {
    const now = this.#options.mono();
    return this.#hung === undefined && ![...this.#underWay].some(({ aliveAt }) => now - aliveAt > slowAfterMs);
  }

  /** Whether its helper can be ended without loss, to make room for another's. */
  get isIdle(): boolean {
    return this.#helper !== undefined && this.#underWay.size === 0 && this.#hung === undefined;
  }

  get hasHelper(): boolean {
    return this.#helper !== undefined;
  }

  /** @throws {WakefulError} `path_unanswered` while it hangs. */
  refuseIfHung(path: string): void {
    if (this.#closed) throw new WakefulError("unavailable", "The daemon is stopping.");
    if (this.#hung !== undefined) throw unanswered(this.point, path);
  }

  /**
   * @param options.alone - whether the call touches this place only, so that its silence proves that this place hangs.
   * @throws {WakefulError} `path_unanswered`; else what the operation throws.
   */
  async call<Args, Result>(
    operation: PathOperation<Args, Result>,
    args: Args,
    { path, alone }: { readonly path: string; readonly alone: boolean },
  ): Promise<Result> {
    this.refuseIfHung(path);
    if (this.#underWay.size >= callsAtOnce) {
      await new Promise<void>((begin, giveUp) => {
        this.#queue.push({ begin, giveUp });
      });
      this.refuseIfHung(path);
    }
    const result = await this.#ask({ operation, args, path, onSilent: () => this.suspect(path, { certain: alone }) });
    return result as Result;
  }

  /** Takes it for hung until it has answered. `certain`: people are told now; else once it does not answer a question of its own. */
  suspect(path: string, { certain }: { readonly certain: boolean }): void {
    if (this.#closed || this.#hung !== undefined) return;
    this.#hung = { path, since: this.#options.mono(), probes: 0, told: false };
    const pid = this.#helper?.pid;
    this.#killHelper();
    const thrown = unanswered(this.point, path);
    for (const each of this.#underWay) each.giveUp(thrown);
    for (const { giveUp } of this.#queue.splice(0)) giveUp(thrown);
    if (certain) this.#tell(this.#hung, pid);
    this.#askIn(firstProbeMs);
  }

  /** Ends a helper that is in no call, and so ends at once. */
  endIdleHelper(): void {
    this.#killHelper();
    this.#helper = undefined;
  }

  #killHelper(): void {
    clearTimeout(this.#idle);
    this.#helper?.kill();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#probe);
    this.#killHelper();
    const thrown = new WakefulError("unavailable", "The daemon is stopping.");
    for (const each of this.#underWay) each.giveUp(thrown);
    for (const { giveUp } of this.#queue.splice(0)) giveUp(thrown);
  }

  async #ask<Args>(call: {
    readonly operation: PathOperation<Args, unknown>;
    readonly args: Args;
    readonly path: string;
    readonly onSilent: () => void;
  }): Promise<unknown> {
    const { limitMs, mono } = this.#options;
    clearTimeout(this.#idle);
    let looks = 0;
    let timer: NodeJS.Timeout | undefined;
    let mine: UnderWay | undefined;
    try {
      const helper = this.#startedHelper();
      return await new Promise<unknown>((resolve, giveUp) => {
        const underWay: UnderWay = { path: call.path, giveUp, aliveAt: mono() };
        mine = underWay;
        this.#underWay.add(underWay);
        timer = setInterval(() => {
          looks += 1;
          if (looks >= looksPerLimit) call.onSilent();
        }, limitMs / looksPerLimit).unref();
        const onAlive = (): void => {
          looks = 0;
          underWay.aliveAt = mono();
        };
        helper.call(call.operation.name, call.args, onAlive).then(resolve, giveUp);
      });
    } finally {
      clearInterval(timer);
      if (mine !== undefined) this.#underWay.delete(mine);
      this.#queue.shift()?.begin();
      if (this.#underWay.size === 0) this.#idle = setTimeout(() => this.endIdleHelper(), idleMs).unref();
    }
  }

  #startedHelper(): PathHelper {
    // Kept until it is gone: one that the kernel does not let go is the only one of this place.
    if (this.#helper?.isOver === true) throw new WakefulError("unavailable", `The last helper process at ${this.point} has not ended yet.`);
    if (this.#helper !== undefined) return this.#helper;
    const helper: PathHelper = this.#options.startHelper(() => {
      if (this.#helper === helper) this.#helper = undefined;
    });
    this.#helper = helper;
    return helper;
  }

  #askIn(ms: DurationMs): void {
    if (this.#closed) return;
    this.#probe = setTimeout(() => void this.#askAgain(), ms).unref();
  }

  async #askAgain(): Promise<void> {
    const hung = this.#hung;
    if (hung === undefined) return;
    const again = (): void => {
      if (this.#hung !== hung) return;
      this.#tell(hung, this.#helper?.pid);
      hung.probes += 1;
      this.#askIn(Math.min(longestProbeMs, firstProbeMs * 2 ** Math.min(10, hung.probes)));
    };
    // The last helper is still held in its call: nothing more is learnt by a second one.
    if (this.#helper !== undefined) {
      again();
      return;
    }
    const { point } = this;
    let silent = false;
    const giveUp = (): void => {
      silent = true;
      this.#killHelper();
      for (const each of this.#underWay) each.giveUp(unanswered(point, hung.path));
    };
    try {
      await this.#ask({ operation: probePlace, args: { point, path: hung.path }, path: hung.path, onSilent: giveUp });
    } catch (thrown) {
      // Without a helper nothing was asked.
      if (thrown instanceof WakefulError && thrown.code === "unavailable") silent = true;
    }
    if (silent) again();
    else this.#answersAgain(hung);
  }

  #answersAgain(hung: Hung): void {
    if (this.#hung !== hung) return;
    this.#hung = undefined;
    if (hung.told) this.#options.onAnswers({ afterMs: this.#options.mono() - hung.since });
  }

  #tell(hung: Hung, helperPid: number | undefined): void {
    if (hung.told) return;
    hung.told = true;
    this.#options.onHung({ path: hung.path, afterMs: this.#options.limitMs, helperPid });
  }
}

const unanswered = (point: string, path: string): WakefulError =>
  new WakefulError("path_unanswered", `${path} does not answer: the file system at ${point} hangs.`, { details: { path, point } });
