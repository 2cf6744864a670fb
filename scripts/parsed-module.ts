import { type CallExpression, type Node, parseSync, Visitor } from "oxc-parser";

/** One `import`, `export … from`, `import()` or `import("…")` type of a module. */
export interface ImportedModule {
  readonly specifier: string;
  readonly line: number;
  /** Erased at compile time: loads nothing. */
  readonly typeOnly: boolean;
  /** `import()`: loaded when it runs, not with the module. */
  readonly dynamic: boolean;
  /** Names taken from the module; empty for namespace, side-effect and dynamic imports. */
  readonly names: readonly string[];
}

/** A dotted name that the module evaluates, for example `Date.now` or `process.env`. */
export interface NameUse {
  readonly name: string;
  readonly line: number;
}

/** A call of `test`, `it`, `describe` or `suite`, with its modifiers (`skip`, `only`, `each`, ...). */
export interface TestCall {
  readonly title: string;
  readonly modifiers: readonly string[];
  readonly line: number;
}

export interface ParsedModule {
  readonly imports: readonly ImportedModule[];
  readonly uses: readonly NameUse[];
  readonly testCalls: readonly TestCall[];
  /** Lines of a promise that does nothing but wait for a timer. */
  readonly sleeps: readonly number[];
  readonly comments: readonly { readonly text: string; readonly firstLine: number; readonly lastLine: number }[];
  /** The source with a space for each letter of a comment, so that lines and places stay. */
  readonly code: string;
}

const testFunctions = new Set(["test", "it", "describe", "suite"]);

/** Reads the facts that the checks of this folder need out of one TypeScript source. Throws on a syntax error, naming the file. */
export function parseModule(path: string, source: string): ParsedModule {
  const parsed = parseSync(path, source, { lang: path.endsWith("x") ? "tsx" : "ts" });
  const firstError = parsed.errors[0];
  if (firstError !== undefined) throw new SyntaxError(`${path}: ${firstError.message}`);

  const lineAt = lineFinder(source);
  const imports: ImportedModule[] = [];
  const uses: NameUse[] = [];
  const testCalls: TestCall[] = [];
  const sleeps: number[] = [];
  /** Local names of namespace or default imports of built-in modules: `import os from "node:os"` makes `os.uptime()` one of ours to judge. */
  const builtinNames = new Map<string, string>();

  const take = (node: { readonly start: number }, name: string): void => void uses.push({ name, line: lineAt(node.start) });

  new Visitor({
    ImportDeclaration(node) {
      const specifiers = node.specifiers;
      const valueSpecifiers = specifiers.filter((s) => s.type !== "ImportSpecifier" || s.importKind !== "type");
      const typeOnly = node.importKind === "type" || (specifiers.length > 0 && valueSpecifiers.length === 0);
      const names = specifiers.flatMap((s) => (s.type === "ImportSpecifier" ? [nameOf(s.imported)] : []));
      imports.push({ specifier: node.source.value, line: lineAt(node.start), typeOnly, dynamic: false, names });
      if (typeOnly || !node.source.value.startsWith("node:")) return;
      const builtin = node.source.value.slice("node:".length).replace("perf_hooks", "performance");
      for (const specifier of valueSpecifiers) {
        // A rename would hide later uses of an imported name, so the import itself counts as the use.
        if (specifier.type === "ImportSpecifier") take(specifier, `${builtin}.${nameOf(specifier.imported)}`);
        else builtinNames.set(specifier.local.name, builtin);
      }
    },
    ExportNamedDeclaration(node) {
      if (node.source === null) return;
      const typeOnly = node.exportKind === "type";
      imports.push({ specifier: node.source.value, line: lineAt(node.start), typeOnly, dynamic: false, names: [] });
    },
    ExportAllDeclaration(node) {
      const typeOnly = node.exportKind === "type";
      imports.push({ specifier: node.source.value, line: lineAt(node.start), typeOnly, dynamic: false, names: [] });
    },
    ImportExpression(node) {
      const { source: from } = node;
      if (from.type !== "Literal" || typeof from.value !== "string") return;
      imports.push({ specifier: from.value, line: lineAt(node.start), typeOnly: false, dynamic: true, names: [] });
    },
    TSImportType(node) {
      imports.push({ specifier: node.source.value, line: lineAt(node.start), typeOnly: true, dynamic: false, names: [] });
    },
    MemberExpression(node) {
      const name = dottedName(node);
      if (name === undefined) return;
      const [head = "", ...rest] = name.replace(/^globalThis\./, "").split(".");
      take(node, [builtinNames.get(head) ?? head, ...rest].join("."));
    },
    NewExpression(node) {
      if (node.callee.type === "Identifier" && node.callee.name === "Date" && node.arguments.length === 0) take(node, "new Date()");
      if (node.callee.type === "Identifier" && node.callee.name === "Promise" && waitsForTimerOnly(node.arguments[0])) {
        sleeps.push(lineAt(node.start));
      }
    },
    CallExpression(node) {
      if (node.callee.type === "Identifier" && node.callee.name === "Date") take(node, "Date()");
      const call = testCall(node);
      if (call !== undefined) testCalls.push({ ...call, line: lineAt(node.start) });
    },
  }).visit(parsed.program);

  const comments = parsed.comments.map((comment) => ({
    text: comment.value.trim(),
    firstLine: lineAt(comment.start),
    lastLine: lineAt(comment.end),
  }));
  return { imports, uses, testCalls, sleeps, comments, code: withoutComments(source, parsed.comments) };
}

function withoutComments(source: string, comments: readonly { readonly start: number; readonly end: number }[]): string {
  let code = "";
  let from = 0;
  for (const { start, end } of comments) {
    code += source.slice(from, start) + source.slice(start, end).replaceAll(/[^\n]/g, " ");
    from = end;
  }
  return code + source.slice(from);
}

/** `a.b.c` for plain member access on an identifier; undefined for anything computed. */
function dottedName(node: Node | undefined): string | undefined {
  if (node?.type === "Identifier") return node.name;
  if (node?.type !== "MemberExpression") return undefined;
  const head = dottedName(node.object);
  const member = node.computed ? textOf(node.property) : node.property.type === "Identifier" ? node.property.name : undefined;
  return head === undefined || member === undefined ? undefined : `${head}.${member}`;
}

/** Recognises `test("…")`, `test.skip("…")`, `describe.each(rows)("…")` and their like. */
function testCall(node: CallExpression): Omit<TestCall, "line"> | undefined {
  let callee: Node = node.callee;
  // `test.each(rows)("title")` and `test.skipIf(condition)("title")` are calls of a call.
  if (callee.type === "CallExpression") callee = callee.callee;
  if (callee.type === "TaggedTemplateExpression") callee = callee.tag;
  const [head, ...modifiers] = dottedName(callee)?.split(".") ?? [];
  if (head === undefined || !testFunctions.has(head)) return undefined;
  const title = textOf(node.arguments[0]);
  return title === undefined ? undefined : { title, modifiers };
}

/** The literal parts of a string or template; placeholders are left out. */
function textOf(node: Node | undefined): string | undefined {
  if (node?.type === "Literal") return typeof node.value === "string" ? node.value : undefined;
  if (node?.type !== "TemplateLiteral") return undefined;
  return node.quasis.map((quasi) => quasi.value.cooked ?? "").join("…");
}

/** Whether the executor is `(done) => setTimeout(done, …)`: a sleep. A timer that rejects is a deadline, and that is fine. */
function waitsForTimerOnly(executor: Node | undefined): boolean {
  if (executor?.type !== "ArrowFunctionExpression") return false;
  const resolve = dottedName(executor.params[0]);
  const call = onlyCallOf(executor.body);
  if (resolve === undefined || call === undefined || !/(^|\.)setTimeout$/.test(dottedName(call.callee) ?? "")) return false;
  const callback = call.arguments[0];
  if (dottedName(callback) === resolve) return true;
  return callback?.type === "ArrowFunctionExpression" && dottedName(onlyCallOf(callback.body)?.callee) === resolve;
}

/** The call that an arrow function consists of, whether its body is the expression or a block around it. */
function onlyCallOf(body: Node | null): CallExpression | undefined {
  let node: Node | null | undefined = body;
  if (node?.type === "BlockStatement") node = node.body.length === 1 ? node.body[0] : undefined;
  if (node?.type === "ExpressionStatement") node = node.expression;
  if (node?.type === "UnaryExpression") node = node.argument;
  return node?.type === "CallExpression" ? node : undefined;
}

function nameOf(node: { readonly type: string; readonly name?: string; readonly value?: unknown }): string {
  return node.name ?? String(node.value);
}

export function lineFinder(source: string): (offset: number) => number {
  const starts = [0];
  for (let at = source.indexOf("\n"); at !== -1; at = source.indexOf("\n", at + 1)) starts.push(at + 1);
  return (offset) => {
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return low + 1;
  };
}
