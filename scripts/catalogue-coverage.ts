import type { CallExpression, Node } from "oxc-parser";
import type { SourceFile } from "./source-tree.ts";
import { type Ancestors, dottedName, lastNameOf, nameOf, programOf, textOf, walk } from "./syntax-tree.ts";

/** A text that a test expects to see, and what says so. */
export interface ExpectedText {
  readonly text: string;
  /** The member that holds the text: `code` in `{ code: "conflict" }` and in `expect(answer.code).toBe("conflict")`; undefined in a table. */
  readonly member: string | undefined;
  /** In the rows of `test.each`. */
  readonly inTable: boolean;
}

/** Every verb of the store's port as tests call it: `jobs.enqueue` for what a room of `Store` offers, `store.ping` for its own. */
export function storeVerbs(port: readonly SourceFile[]): readonly string[] {
  const interfaces = new Map<string, readonly Node[]>();
  for (const file of port) {
    walk(programOf(file), (node) => {
      if (node.type === "TSInterfaceDeclaration") interfaces.set(node.id.name, node.body.body);
    });
  }
  const verbsOf = (name: string, members: readonly Node[]): readonly string[] =>
    members.flatMap((member) => (member.type === "TSMethodSignature" ? [`${name}.${nameOf(member.key)}`] : []));
  const store = interfaces.get("Store") ?? [];
  return [
    ...verbsOf("store", store),
    ...store.flatMap((member) => {
      const type = member.type === "TSPropertySignature" ? member.typeAnnotation?.typeAnnotation : undefined;
      if (member.type !== "TSPropertySignature" || type?.type !== "TSTypeReference" || type.typeName.type !== "Identifier") return [];
      return verbsOf(nameOf(member.key), interfaces.get(type.typeName.name) ?? []);
    }),
  ];
}

/** What the tests that a file declares for each engine call, as `room.verb`: calls outside `describeStores(...)` run on one engine at most. */
export function verbsCalledOnEachEngine(file: SourceFile): ReadonlySet<string> {
  const called = new Set<string>();
  const program = programOf(file);
  const stores = storesOf(program);
  walk(program, (node, ancestors) => {
    if (node.type !== "CallExpression" || node.callee.type !== "MemberExpression") return;
    if (!ancestors.some((ancestor) => calleeName(ancestor) === "describeStores")) return;
    const { object, property } = node.callee;
    if (property.type !== "Identifier") return;
    if (object.type === "Identifier" && stores.has(object.name)) called.add(`store.${property.name}`);
    else if (object.type === "MemberExpression") called.add(`${nameOf(object.property)}.${property.name}`);
  });
  return called;
}

/** The names that stores have in a file: `store`, what is opened, and another name for the fixture's member. */
function storesOf(program: Node): ReadonlySet<string> {
  const names = new Set(["store"]);
  walk(program, (node) => {
    if (node.type === "VariableDeclarator" && node.id.type === "Identifier" && opensStore(node.init)) names.add(node.id.name);
    if (node.type === "Property" && nameOf(node.key) === "store" && node.value.type === "Identifier") names.add(node.value.name);
  });
  return names;
}

/** `await openAgain()`, also as one of two choices. */
function opensStore(node: Node | null): boolean {
  if (node?.type === "AwaitExpression") return opensStore(node.argument);
  if (node?.type === "ConditionalExpression") return opensStore(node.consequent) || opensStore(node.alternate);
  return node?.type === "CallExpression" && ["openAgain", "openStore"].includes(calleeName(node) ?? "");
}

/**
 * The texts without which a file's tests would fail: in an expectation that something is there, in its subject (a constant, rows of
 * `each`), and in an awaited condition. Titles, `not`, expectations of nothing and `!==` do not count.
 */
export function expectedTexts(file: SourceFile): readonly ExpectedText[] {
  const program = programOf(file);
  const lookedAt = new Set<string>();
  walk(program, (node, ancestors) => {
    if (node.type === "Identifier" && isDemanded(ancestors)) lookedAt.add(node.name);
  });
  const texts: ExpectedText[] = [];
  walk(program, (node, ancestors) => {
    const text = textOf(node);
    if (text === undefined) return;
    const inTable = ancestors.some(isTableOfTests);
    const isSeen = inTable || isDemanded(ancestors) || ancestors.some((each) => isDeclarationOf(each, lookedAt));
    if (isSeen) texts.push({ text, member: memberOf(ancestors), inTable });
  });
  return texts;
}

/** The events that a file emits and the codes of the errors that it makes: they prove nothing of the code under test. */
export function madeBy(file: SourceFile): ReadonlySet<string> {
  const made = new Set<string>();
  walk(programOf(file), (node) => {
    const makes =
      (node.type === "CallExpression" && lastNameOf(node.callee) === "emit") ||
      (node.type === "NewExpression" && lastNameOf(node.callee) === "WakefulError");
    const name = makes ? textOf(node.arguments[0]) : undefined;
    if (name !== undefined) made.add(name);
  });
  return made;
}

const waits = new Set(["until", "waitFor", "waitForEvent", "eventually", "untilEvent"]);
const nothing =
  /^(toBe\((0|false|undefined|null)\)|toEqual\(\[\]\)|toStrictEqual\(\[\]\)|toHaveLength\(0\)|toBe(Undefined|Null|Falsy)\(\))$/;

function isDemanded(ancestors: Ancestors): boolean {
  if (ancestors.some((each) => each.type === "BinaryExpression" && each.operator === "!==")) return false;
  return ancestors.some((each) => each.type === "CallExpression" && (waits.has(calleeName(each) ?? "") || expectsSomething(each)));
}

/** `expect(x).toEqual([y])`, also over `resolves` and `rejects`; not `expect(x).not.toEqual(y)` and not `expect(x).toEqual([])`. */
function expectsSomething(call: CallExpression): boolean {
  const steps: string[] = [];
  let callee: Node = call.callee;
  while (callee.type === "MemberExpression") {
    steps.unshift(nameOf(callee.property));
    callee = callee.object;
  }
  const isOfExpect = callee.type === "CallExpression" && ["expect", "expect.poll"].includes(calleeName(callee) ?? "");
  if (!isOfExpect || steps.length === 0 || steps.includes("not")) return false;
  const [first] = call.arguments;
  return !nothing.test(`${steps.at(-1)}(${first === undefined ? "" : plainTextOf(first)})`);
}

function plainTextOf(node: Node): string {
  if (node.type === "Literal") return String(node.value);
  if (node.type === "Identifier") return node.name;
  return node.type === "ArrayExpression" && node.elements.length === 0 ? "[]" : "…";
}

function isDeclarationOf(node: Node, names: ReadonlySet<string>): boolean {
  return node.type === "VariableDeclarator" && node.id.type === "Identifier" && names.has(node.id.name);
}

/** `test.each(rows)` in `test.each(rows)(title, body)`: each row is a test of its own. */
function isTableOfTests(node: Node): boolean {
  return node.type === "CallExpression" && /^(test|it|describe)(\.\w+)*\.each$/.test(calleeName(node) ?? "");
}

/** The nearest key above a text, or the last member of what the expectation looks at. */
function memberOf(ancestors: Ancestors): string | undefined {
  const property = ancestors.findLast((each) => each.type === "Property");
  if (property?.type === "Property") return nameOf(property.key);
  const expectation = ancestors.findLast((each) => each.type === "CallExpression" && expectsSomething(each));
  let looked: Node | undefined = expectation;
  while (looked?.type === "CallExpression" && looked.callee.type === "MemberExpression") looked = looked.callee.object;
  while (looked?.type === "MemberExpression") looked = looked.object;
  const subject = looked?.type === "CallExpression" ? looked.arguments[0] : undefined;
  const last = subject?.type === "ArrayExpression" ? subject.elements.at(-1) : subject;
  return last === undefined || last === null ? undefined : lastNameOf(last);
}

function calleeName(node: Node): string | undefined {
  return node.type === "CallExpression" ? dottedName(node.callee) : undefined;
}
