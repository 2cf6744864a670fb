import type { DurationMs } from "../domain/time.ts";
import type { GateDefinition } from "../pipelines/definition.ts";
import { looksAtFiles } from "./gate.ts";
import type { GateAnswer } from "./gate-answer.ts";

/**
 * Most readings at once of gates that look at files. A disk that does not answer holds one of the four threads that all file access of this
 * process shares, and nothing takes the thread back: two are left for exit records, heartbeats and state files, whatever gates wait for.
 */
const fileGatesAtOnce = 2;
/** How long after its end a reading may take to return: killing commands and closing their log takes a moment, on a loaded host too. */
const returnWithinMs: DurationMs = 1_000;

export interface GateReadingOptions {
  /** What is read, such as an item: while one reading of it has not returned, it is not read again. */
  readonly subject: string;
  /** How long it may take in all, from its turn on; past it: unreadable. */
  readonly timeoutMs: DurationMs;
  /** Whoever asks has stopped waiting. */
  readonly signal: AbortSignal;
}

/**
 * Reads gates in turn, each within one time limit, whatever it is made of. Past the limit its commands are killed and its answer is
 * "unreadable". A reading that does not return even then, because a disk does not answer, is abandoned: it keeps its place until it returns,
 * and nobody waits for it. Where all places are taken by abandoned readings, and for the subject of one, the answer is "unreadable" at once.
 * So at most two readings of file gates and `commandsAtOnce` of others are under way, and neither kind can hold up the other.
 */
export class GateTurns {
  readonly #files: Places;
  readonly #commands: Places;
  readonly #abandoned = new Set<string>();

  /** @param commandsAtOnce - of gates that are made of commands alone. */
  constructor({ commandsAtOnce }: { readonly commandsAtOnce: number }) {
    this.#files = new Places(Math.min(fileGatesAtOnce, commandsAtOnce));
    this.#commands = new Places(commandsAtOnce);
  }

  /** @param read - given a signal that is aborted at the limit, or when the asker's is. */
  async read(
    gate: GateDefinition,
    { subject, timeoutMs, signal }: GateReadingOptions,
    read: (signal: AbortSignal) => Promise<GateAnswer>,
  ): Promise<GateAnswer> {
    const places = looksAtFiles(gate) ? this.#files : this.#commands;
    if (this.#abandoned.has(subject)) return unreadable("an earlier reading of it has not returned: does its disk answer?");
    const turn = await places.take(signal);
    if (turn === "none") return unreadable(`${places.size} earlier readings have not returned: does their disk answer?`);
    if (turn === "interrupted") return unreadable(interrupted);
    const limit = new AbortController();
    let returned = false;
    const reading = read(limit.signal).finally(() => {
      returned = true;
      places.giveBack();
    });
    const answer = await answerWithin(reading, { timeoutMs, signal });
    if (returned) return answer;
    // The answer is known before the commands are killed, which say less of why.
    limit.abort();
    setTimeout(() => {
      if (returned) return;
      this.#abandoned.add(subject);
      places.abandon();
      const back = (): void => {
        this.#abandoned.delete(subject);
        places.returned();
      };
      void reading.then(back, back);
    }, returnWithinMs).unref();
    return answer;
  }
}

/** The answer of the reading, or why nobody waits for it any more. Rejects where the reading does. */
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

/** So many places, in the order of asking. Who waits is sent away when only abandoned readings hold them. */
class Places {
  readonly size: number;
  #taken = 0;
  #abandoned = 0;
  readonly #waiting = new Set<(turn: Turn) => void>();

  constructor(size: number) {
    this.size = size;
  }

  /** `none`: there is no place, and nobody can say when there will be. */
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
    if (this.#abandoned >= this.size) for (const sendAway of this.#waiting) sendAway("none");
  }

  returned(): void {
    this.#abandoned--;
  }
}

const interrupted = "the reading was interrupted";
const unreadable = (error: string): GateAnswer => ({ kind: "unreadable", error });
