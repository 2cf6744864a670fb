import pino, { type Logger } from "pino";
import { type EmittedEvent, type EventLevel, eventCatalogue } from "./events.ts";

export interface LogOptions {
  /** The least important level that is written. Default `info`. */
  readonly level?: EventLevel | undefined;
  /** One JSON object per line (`true`), or text for people. Default `false`. */
  readonly json?: boolean | undefined;
  /** Receives each line. Must not wait for whoever reads it: everything that emits an event would wait as well. */
  readonly write: (line: string) => void;
  /** Colours the level's name in texts. Default `false`. */
  readonly colour?: boolean | undefined;
}

/** The daemon's log: a subscriber of events like any other. Returns what the bus calls for each event. */
export function logSubscriber({ level = "info", json = false, write, colour = false }: LogOptions): (event: EmittedEvent) => void {
  return json ? jsonLines({ level, write }) : textLines({ level, write, colour });
}

interface LinesOptions {
  readonly level: EventLevel;
  readonly write: (line: string) => void;
}

/**
 * The keys `timestamp`, `level`, `service` and `message` are those of the document pipeline's log; the event's fields stand beside them.
 */
function jsonLines({ level, write }: LinesOptions): (event: EmittedEvent) => void {
  const logger: Logger = pino(
    {
      level,
      base: { service: "wakeful" },
      messageKey: "message",
      timestamp: false,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write },
  );
  return ({ name, at, data }) => {
    const { level: eventLevel, meaning } = eventCatalogue[name];
    // An event's own `message` says more than the event's general meaning; pino's message key would hide it.
    const { message, level: itsLevel, ...fields } = { message: meaning, level: undefined, ...data };
    logger[eventLevel]({ timestamp: new Date(at).toISOString(), event: name, ...fields, eventLevel: itsLevel }, message);
  };
}

const order: Readonly<Record<EventLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };
const colours: Readonly<Record<EventLevel, string>> = { debug: "2", info: "36", warn: "33", error: "31" };

function textLines({ level, write, colour }: LinesOptions & { readonly colour: boolean }): (event: EmittedEvent) => void {
  return ({ name, at, data }) => {
    const { level: eventLevel, meaning } = eventCatalogue[name];
    if (order[eventLevel] < order[level]) return;
    const label = eventLevel.toUpperCase().padEnd(5);
    const shown = colour ? `\u001b[${colours[eventLevel]}m${label}\u001b[0m` : label;
    const fields = Object.entries(data).map(([key, value]) => `${key}=${fieldText(value)}`);
    write(`${new Date(at).toISOString().replace("T", " ")} ${shown} ${name.padEnd(16)} ${[...fields, `(${meaning})`].join(" ")}\n`);
  };
}

/** Keeps an event on one line: line breaks and control characters are written as JSON writes them. */
function fieldText(value: unknown): string {
  if (typeof value === "number" || typeof value === "boolean" || value === null) return String(value);
  if (typeof value === "string") return /^[\w.:/@+-]+$/.test(value) ? value : escaped(JSON.stringify(value));
  return escaped(JSON.stringify(value) ?? "undefined");
}

/** JSON leaves C1 controls, and marks that turn the direction of text, as they are. */
const escaped = (text: string): string =>
  text.replace(
    /[\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
