import type { Duplex } from "node:stream";
import { errorCodes } from "../../domain/error-codes.ts";
import { isWakefulError, messageOf, WakefulError } from "../../domain/errors.ts";

/** Answers one call. Its arguments come from the other end and are plain data. */
export type ChannelVerb = (...args: never[]) => Promise<unknown>;

export interface PipeChannelOptions {
  readonly stream: Duplex;
  /** What the other end may call; nothing else is answered. */
  readonly verbs?: Readonly<Record<string, ChannelVerb>>;
  readonly onNote?: (name: string, data: unknown) => void;
  /** Called with whatever comes, be it part of a message. */
  readonly onHeard?: () => void;
  /** Called once, when the other end is gone. */
  readonly onClose?: () => void;
  /** An instant that goes out with each answer. */
  readonly stamp?: () => number;
  readonly onStamp?: (instant: number) => void;
}

/** One line of JSON: a call, its answer, or a note without an answer. */
type Frame =
  | { readonly call: number; readonly verb: string; readonly args: readonly unknown[] }
  | { readonly answer: number; readonly value?: unknown; readonly at?: number | undefined }
  | { readonly answer: number; readonly error: WireError; readonly at?: number | undefined }
  | { readonly note: string; readonly data?: unknown };

interface WireError {
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

/** A longer line is not ours: its writer is broken. */
const lineCharsMax = 256 * 2 ** 20;

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (thrown: Error) => void;
}

/** Calls and notes between the daemon and its handler host, over a pipe that both hold open: when one dies the other learns it at once. */
export class PipeChannel {
  readonly #options: PipeChannelOptions;
  readonly #pending = new Map<number, Pending>();
  #lastCall = 0;
  /** Pieces of a line that has not ended yet. */
  #pieces: string[] = [];
  #pieceChars = 0;
  #closed = false;

  constructor(options: PipeChannelOptions) {
    this.#options = options;
    const { stream } = options;
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => this.#read(text));
    // A broken pipe and a reset mean the same as the end: nobody is there.
    stream.on("error", () => this.close());
    stream.on("end", () => this.close());
    stream.on("close", () => this.close());
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Resolves to what the other end answers. Rejects with its error, code kept, or with `unavailable` when it is gone. */
  async call(verb: string, ...args: readonly unknown[]): Promise<unknown> {
    if (this.#closed) throw gone();
    this.#lastCall++;
    const call = this.#lastCall;
    return await new Promise((resolve, reject) => {
      this.#pending.set(call, { resolve, reject });
      this.#send({ call, verb, args });
    });
  }

  note(note: string, data?: unknown): void {
    if (!this.#closed) this.#send({ note, data });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.stream.destroy();
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) reject(gone());
    this.#options.onClose?.();
  }

  #send(frame: Frame): void {
    this.#options.stream.write(`${JSON.stringify(frame)}\n`);
  }

  #read(text: string): void {
    this.#options.onHeard?.();
    let from = 0;
    for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n", from)) {
      const line = this.#pieces.length === 0 ? text.slice(from, end) : `${this.#pieces.join("")}${text.slice(from, end)}`;
      this.#pieces = [];
      this.#pieceChars = 0;
      from = end + 1;
      this.#receive(line);
      if (this.#closed) return;
    }
    if (from === text.length) return;
    this.#pieces.push(text.slice(from));
    this.#pieceChars += text.length - from;
    if (this.#pieceChars > lineCharsMax) this.close();
  }

  #receive(line: string): void {
    let frame: Frame;
    try {
      frame = JSON.parse(line) as Frame;
    } catch {
      // Something else writes into our pipe, so no message of it can be trusted any more.
      this.close();
      return;
    }
    if ("note" in frame) {
      this.#options.onNote?.(frame.note, frame.data);
    } else if ("answer" in frame) {
      this.#settle(frame);
    } else {
      this.#serve(frame).catch(() => this.close());
    }
  }

  #settle(frame: Extract<Frame, { answer: number }>): void {
    if (frame.at !== undefined) this.#options.onStamp?.(frame.at);
    const pending = this.#pending.get(frame.answer);
    if (pending === undefined) return;
    this.#pending.delete(frame.answer);
    if ("error" in frame) pending.reject(errorOfWire(frame.error));
    else pending.resolve(frame.value);
  }

  async #serve({ call, verb, args }: Extract<Frame, { call: number }>): Promise<void> {
    const { verbs = {}, stamp } = this.#options;
    let answer: Frame;
    try {
      if (!Object.hasOwn(verbs, verb)) throw new WakefulError("forbidden", `"${verb}" is not one of the calls that are answered here.`);
      const value = await (verbs[verb] as (...args: readonly unknown[]) => Promise<unknown>)(...args);
      answer = { answer: call, value, at: stamp?.() };
    } catch (thrown) {
      answer = { answer: call, error: wireErrorOf(thrown), at: stamp?.() };
    }
    if (!this.#closed) this.#send(answer);
  }
}

const gone = (): WakefulError => new WakefulError("unavailable", "The other end of the pipe is gone.");

function wireErrorOf(thrown: unknown): WireError {
  return isWakefulError(thrown)
    ? { code: thrown.code, message: thrown.message, details: thrown.details }
    : { code: "internal", message: messageOf(thrown), details: {} };
}

function errorOfWire({ code, message, details }: WireError): WakefulError {
  const known = Object.hasOwn(errorCodes, code) ? (code as keyof typeof errorCodes) : "internal";
  return new WakefulError(known, message, { details });
}
