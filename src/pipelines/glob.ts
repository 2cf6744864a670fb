/** One step of a compiled glob: a literal character, any character, any sequence, or a class. */
type Token =
  | { readonly kind: "letter"; readonly letter: string }
  | { readonly kind: "any" }
  | { readonly kind: "star" }
  | { readonly kind: "class"; readonly negated: boolean; readonly ranges: readonly (readonly [string, string])[] };

/** A glob over one file name. Names that begin with a dot match only globs that do. */
export interface Glob {
  matches(name: string): boolean;
}

export type ParsedGlob = { readonly ok: true; readonly glob: Glob } | { readonly ok: false; readonly rule: string };

const lettersMax = 256;
const alternativesMax = 64;

/** Reads `*`, `?`, `[a-z]`, `[!a-z]`, `{cbz,cbr}` and `\` before a literal character. */
export function parseGlob(text: string): ParsedGlob {
  if (text === "" || text.length > lettersMax) return { ok: false, rule: `must be a glob of 1 to ${lettersMax} letters, such as *.cbz` };
  if (text.includes("/") || text.includes("\0")) return { ok: false, rule: "must be a glob over file names: folders are not searched" };
  const alternatives = expandBraces(text);
  if (typeof alternatives === "string") return { ok: false, rule: alternatives };
  const compiled: { text: string; tokens: readonly Token[] }[] = [];
  for (const alternative of alternatives) {
    const tokens = tokenise(alternative);
    if (typeof tokens === "string") return { ok: false, rule: tokens };
    compiled.push({ text: alternative, tokens });
  }
  const matches = (name: string): boolean =>
    compiled.some(({ text: each, tokens }) => each.startsWith(".") === name.startsWith(".") && matchTokens(tokens, Array.from(name)));
  return { ok: true, glob: { matches } };
}

/** `a{b,c}` as `ab` and `ac`, or the rule that the braces break. One level, so that the number of alternatives is easy to see. */
function expandBraces(text: string): readonly string[] | string {
  let done = [""];
  for (let index = 0; index < text.length; index++) {
    const letter = text.charAt(index);
    if (letter === "\\") {
      const escaped = text.slice(index, index + 2);
      done = done.map((each) => each + escaped);
      index += 1;
      continue;
    }
    if (letter === "}") return "has a } without its {";
    if (letter !== "{") {
      done = done.map((each) => each + letter);
      continue;
    }
    const end = text.indexOf("}", index);
    const body = text.slice(index + 1, end);
    if (end === -1) return "has a { without its }";
    if (body.includes("{") || body.includes("\\")) return "may not nest braces or escape inside them";
    done = done.flatMap((each) => body.split(",").map((option) => each + option));
    if (done.length > alternativesMax) return `has more than ${alternativesMax} alternatives`;
    index = end;
  }
  return done;
}

function tokenise(text: string): readonly Token[] | string {
  const letters = Array.from(text);
  const tokens: Token[] = [];
  for (let index = 0; index < letters.length; index++) {
    const letter = letters[index] ?? "";
    if (letter === "*") {
      if (tokens.at(-1)?.kind !== "star") tokens.push({ kind: "star" });
    } else if (letter === "?") tokens.push({ kind: "any" });
    else if (letter === "[") {
      const end = letters.indexOf("]", index + 2);
      if (end === -1) return "has a [ without its ]";
      tokens.push(classOf(letters.slice(index + 1, end)));
      index = end;
    } else if (letter === "\\") {
      index += 1;
      const escaped = letters[index];
      if (escaped === undefined) return "ends in a \\ that escapes nothing";
      tokens.push({ kind: "letter", letter: escaped });
    } else tokens.push({ kind: "letter", letter });
  }
  return tokens;
}

function classOf(body: readonly string[]): Token {
  const negated = body[0] === "!" || body[0] === "^";
  const letters = negated ? body.slice(1) : body;
  const ranges: [string, string][] = [];
  for (let index = 0; index < letters.length; index++) {
    const from = letters[index] ?? "";
    const to = letters[index + 2];
    if (letters[index + 1] === "-" && to !== undefined) {
      ranges.push([from, to]);
      index += 2;
    } else ranges.push([from, from]);
  }
  return { kind: "class", negated, ranges };
}

/** The two-pointer match: on a mismatch only the last star grows, so the work is at most pattern times name. */
function matchTokens(tokens: readonly Token[], name: readonly string[]): boolean {
  let token = 0;
  let letter = 0;
  let star: { token: number; letter: number } | undefined;
  while (letter < name.length) {
    const current = tokens[token];
    if (current?.kind === "star") {
      star = { token, letter };
      token += 1;
    } else if (current !== undefined && accepts(current, name[letter] ?? "")) {
      token += 1;
      letter += 1;
    } else if (star !== undefined) {
      star.letter += 1;
      letter = star.letter;
      token = star.token + 1;
    } else return false;
  }
  while (tokens[token]?.kind === "star") token += 1;
  return token === tokens.length;
}

function accepts(token: Token, letter: string): boolean {
  switch (token.kind) {
    case "letter":
      return token.letter === letter;
    case "any":
    case "star":
      return true;
    case "class":
      return token.ranges.some(([from, to]) => from <= letter && letter <= to) !== token.negated;
  }
}
