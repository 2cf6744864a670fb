import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";
import type { ConfigMistake, Finding, KeyPath } from "./mistake.ts";
import { dottedPath, inFileOrder, mistakeOf, shownValue } from "./mistake.ts";

/** A configuration file larger than this is refused unread. */
export const configFileBytesMax = 1024 * 1024;
/** Most values that aliases may expand to; more is an attack or an accident. */
const valuesMax = 50_000;
const depthMax = 64;
/** Keys that would reach an object's prototype instead of its data. */
const forbiddenKeys: ReadonlySet<string> = new Set(["__proto__", "constructor", "prototype"]);

/** A place in a file, both from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** A YAML text as plain data that knows the place of each value. */
export interface YamlSource {
  readonly name: string;
  /** Maps, lists and scalars only; `null` for an empty file. Refused values are left out. */
  readonly value: unknown;
  /** Mistakes in the text as YAML. */
  readonly mistakes: readonly ConfigMistake[];
  /** Adds the place to a finding about `value`. A missing value gets the place of the nearest map above it. */
  locate(finding: Finding): ConfigMistake;
}

interface Places {
  readonly key?: Position | undefined;
  readonly value: Position;
}

/** Never throws: unreadable text is a mistake. */
export function readYaml(text: string, name: string): YamlSource {
  const places = new Map<string, Places>();
  const mistakes: ConfigMistake[] = [];
  const locate = (finding: Finding): ConfigMistake => {
    const place = nearestPlace(places, finding);
    return { ...mistakeOf(finding, name), ...place };
  };
  const source = (value: unknown): YamlSource => ({ name, value, mistakes: inFileOrder(mistakes), locate });

  const bytes = Buffer.byteLength(text);
  if (bytes > configFileBytesMax) {
    mistakes.push({ source: name, path: "", value: "", rule: `the file has ${bytes} bytes; at most ${configFileBytesMax} are read` });
    return source(null);
  }
  const lines = new LineCounter();
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line, column: col };
  };
  const converter = new Converter({ name, at, places, mistakes });
  try {
    // The library compares each key with all before it; the conversion finds duplicates in one pass instead.
    const document = parseDocument(text, { lineCounter: lines, uniqueKeys: false, prettyErrors: false, version: "1.2", schema: "core" });
    for (const problem of [...document.errors, ...document.warnings]) {
      mistakes.push({ source: name, path: "", ...at(problem.pos[0]), value: "", rule: `is not valid YAML: ${problem.message}` });
    }
    return source(document.errors.length > 0 ? null : converter.convert(document.contents, [], 0));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    // The parser recurses, so a text nested tens of thousands deep exhausts the stack: a mistake of the text.
    mistakes.push({ source: name, path: "", value: "", rule: `is nested too deeply to be read; at most ${depthMax} levels are` });
    return source(null);
  }
}

interface ConverterOptions {
  readonly name: string;
  readonly at: (offset: number) => Position;
  readonly places: Map<string, Places>;
  readonly mistakes: ConfigMistake[];
}

/** Turns the syntax tree into plain data within a budget, and records the place of each value. */
class Converter {
  readonly #options: ConverterOptions;
  readonly #anchors = new Map<string, Node>();
  readonly #open = new Set<Node>();
  #values = 0;
  #stopped = false;

  constructor(options: ConverterOptions) {
    this.#options = options;
  }

  convert(node: unknown, path: KeyPath, depth: number, key?: Position): unknown {
    if (node === null || node === undefined || this.#stopped) return null;
    const offset = isNode(node) ? (node.range?.[0] ?? 0) : 0;
    const position = this.#options.at(offset);
    this.#options.places.set(keyOf(path), { value: position, key });
    this.#values += 1;
    if (this.#values > valuesMax || depth > depthMax) {
      this.#stopped = true;
      this.#refuse(
        path,
        position,
        "",
        this.#values > valuesMax ? `expands to more than ${valuesMax} values` : `is nested deeper than ${depthMax} levels`,
      );
      return null;
    }
    return this.#valueOf(node, path, depth, position);
  }

  /** The value of a node whose place is recorded: an alias's own place, not that of its anchor. */
  #valueOf(node: unknown, path: KeyPath, depth: number, position: Position): unknown {
    if (isAlias(node)) return this.#alias(node.source, path, depth, position);
    if (isNode(node) && node.anchor !== undefined) this.#anchors.set(node.anchor, node);
    if (isScalar(node)) return this.#scalar(node.value, path, position);
    if (!isMap(node) && !isSeq(node)) return null;
    this.#open.add(node);
    const value = isMap(node)
      ? this.#map(node.items, path, depth)
      : node.items.map((item, index) => this.convert(item, [...path, index], depth + 1));
    this.#open.delete(node);
    return value;
  }

  #alias(anchor: string, path: KeyPath, depth: number, position: Position): unknown {
    const target = this.#anchors.get(anchor);
    if (target === undefined || this.#open.has(target)) {
      this.#refuse(path, position, `*${anchor}`, target === undefined ? "names no anchor above it" : "holds itself");
      return null;
    }
    return this.#valueOf(target, path, depth, position);
  }

  #scalar(value: unknown, path: KeyPath, position: Position): unknown {
    if (typeof value === "number" && !Number.isFinite(value)) {
      this.#refuse(path, position, String(value), "must be a finite number");
      return null;
    }
    return value;
  }

  #map(items: readonly { key: unknown; value: unknown }[], path: KeyPath, depth: number): Record<string, unknown> {
    const entries = new Map<string, unknown>();
    for (const item of items) {
      const keyNode = item.key;
      const position = this.#options.at(isNode(keyNode) ? (keyNode.range?.[0] ?? 0) : 0);
      const key = isScalar(keyNode) ? keyNode.value : undefined;
      if (typeof key !== "string") {
        this.#refuse(path, position, key === undefined ? "" : shownValue(key, path), "is not a text, but keys must be: put it in quotes");
        continue;
      }
      const keyPath = [...path, key];
      if (forbiddenKeys.has(key)) {
        this.#refuse(keyPath, position, JSON.stringify(key), "may not be used as a key");
        continue;
      }
      if (entries.has(key)) {
        const first = this.#options.places.get(keyOf(keyPath))?.key;
        this.#refuse(
          keyPath,
          position,
          JSON.stringify(key),
          `stands twice in this map${first === undefined ? "" : `, first in line ${first.line}`}`,
        );
        continue;
      }
      entries.set(key, this.convert(item.value, keyPath, depth + 1, position));
      // A key without a value has no node of its own; its place is the key's.
      if (!this.#options.places.has(keyOf(keyPath))) this.#options.places.set(keyOf(keyPath), { key: position, value: position });
    }
    return Object.fromEntries(entries);
  }

  #refuse(path: KeyPath, position: Position, value: string, rule: string): void {
    this.#options.mistakes.push({ source: this.#options.name, path: dottedPath(path), ...position, value, rule });
  }
}

function isNode(value: unknown): value is Node {
  return isMap(value) || isSeq(value) || isScalar(value) || isAlias(value);
}

const keyOf = (path: KeyPath): string => JSON.stringify(path);

function nearestPlace(places: ReadonlyMap<string, Places>, finding: Finding): Position | undefined {
  const exact = places.get(keyOf(finding.path));
  if (exact !== undefined) return finding.atKey === true ? (exact.key ?? exact.value) : exact.value;
  for (let length = finding.path.length - 1; length >= 0; length--) {
    const above = places.get(keyOf(finding.path.slice(0, length)));
    // The map's key is a better place for a missing value than the map's first entry.
    if (above !== undefined) return above.key ?? above.value;
  }
  return undefined;
}
