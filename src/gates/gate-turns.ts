import type { DurationMs } from "../domain/time.ts";
import type { GateDefinition } from "../pipelines/definition.ts";
import { looksAtFiles } from "./gate.ts";
import type { GateAnswer } from "./gate-answer.ts";

/**
 * Readings at once of gates that look at files. A disk that does not answer blocks one of the four threads for all file access of this
 * process: two stay free for exit records, heartbeats and state files.
 */
const fileGatesAtOnce = 2;
/** How long after its limit a reading may take to return: killing commands and closing their log takes time on a loaded host. */
const returnWithinMs: DurationMs = 1_000;

export interface GateReadingOptions {
  /** What is read, such as an item. It is not read again while an earlier reading of it has not returned. */
  readonly subject: string;
  /** The limit of the reading, counted from its turn. Past it the answer is unreadable. */
  readonly timeoutMs: DurationMs;
  /** Aborted when the caller has stopped waiting. */
  readonly signal: AbortSignal;
}

/**
 * Reads gates in turn, each within one time limit. A reading that does not return past it keeps its slot (docs/pipelines.md, Gates). When
 * such readings hold all slots, or one has the same subject, the answer is unreadable at once.
 */
export class GateTurns {
  readonly #files: Slots;
  readonly #commands: Slots;
  readonly #abandoned = new Set<string>();

  /** @param commandsAtOnce - slots for gates that are made of commands alone. */
  constructor({ commandsAtOnce }: { readonly commandsAtOnce: number }) {
    this.#files = new Slots(Math.min(fileGatesAtOnce, commandsAtOnce));
    this.#commands = new Slots(commandsAtOnce);
  }

  /**
   * @param read - gets a signal that is aborted at the limit, or when the caller's is. It gives its slot to another by `leave` when it will
   * use no thread of this process.
   */
  async read(
    gate: GateDefinition,
    { subject, timeoutMs, signal }: GateReadingOptions,
    read: (signal: AbortSignal, leave: () => void) => Promise<GateAnswer>,
  ): Promise<GateAnswer> {
    const slots = looksAtFiles(gate) ? this.#files : this.#commands;
    if (this.#abandoned.has(subject)) return unreadable("an earlier reading of it has not returned: does its disk answer?");
    const turn = await slots.take(signal);
    if (turn === "none") return unreadable(`${slots.size} earlier readings have not returned: does their disk answer?`);
    if (turn === "interrupted") return unreadable(interrupted);
    const limit = new AbortController();
    let returned = false;
    let hasSlot = true;
    const leave = (): void => {
      if (!hasSlot) return;
      hasSlot = false;
      slots.giveBack();
    };
    const reading = read(limit.signal, leave).finally(() => {
      returned = true;
      leave();
    });
    const answer = await answerWithin(reading, { timeoutMs, signal });
    if (returned) return answer;
    // The answer is taken before the commands are killed: theirs would say less of why.
    limit.abort();
    setTimeout(() => {
      if (returned) return;
      this.#abandoned.add(subject);
      if (!hasSlot) {
        const over = (): void => void this.#abandoned.delete(subject);
        void reading.then(over, over);
        return;
      }
      slots.abandon();
      const back = (): void => {
        this.#abandoned.delete(subject);
        slots.returned();
      };
      void reading.then(back, back);
    }, returnWithinMs).unref();
    return answer;
  }
}

/** Resolves to the reading's answer, or to why it is not waited for any more. Rejects where the reading does. */
async function answerWithin(
  reading: Promise<GateAnswer>,
  { timeoutMs, signal }: Pick<GateReadingOptions, "timeoutMs" | "signal">,
): Promise<GateAnswer> {
  let stopWaiting: () => void = () => undefined;
  const given = new Promise<GateAnswer>((resolve) => {
    const onAbort = (): void => resolve(unreadable(interrupted));
    const timer = setTimeout(() => resolve(unreadable(`no answer within ${timeoutMs} ms`)), timeoutMs);
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    stopWaiting = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    };
  });
  try {
    return await Promise.race([given, reading]);
  } finally {
    stopWaiting();
  }
}

type Turn = "taken" | "none" | "interrupted";

/** A fixed number of slots, given in the order of asking. Once readings that do not return hold all of them, waiters get none. */
class Slots {
  readonly size: number;
  #taken = 0;
  #abandoned = 0;
  readonly #waiting = new Set<(turn: Turn) => void>();

  constructor(size: number) {
    this.size = size;
  }

  /** `none`: there is no slot, and nobody knows when there will be one. */
  async take(signal: AbortSignal): Promise<Turn> {
    if (signal.aborted) return "interrupted";
    if (this.#abandoned >= this.size) return "none";
    if (this.#taken < this.size) {
      this.#taken++;
      return "taken";
    }
    return await new Promise((resolve) => {
      const end = (turn: Turn): void => {
        this.#waiting.delete(end);
        signal.removeEventListener("abort", onAbort);
        resolve(turn);
      };
      const onAbort = (): void => end("interrupted");
      signal.addEventListener("abort", onAbort);
      this.#waiting.add(end);
    });
  }

  giveBack(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#taken--;
    else next("taken");
  }

  abandon(): void {
    this.#abandoned++;
    if (this.#abandoned >= this.size) for (const answer of this.#waiting) answer("none");
  }

  returned(): void {
    this.#abandoned--;
  }
}

const interrupted = "the reading was interrupted";
const unreadable = (error: string): GateAnswer => ({ kind: "unreadable", error });
