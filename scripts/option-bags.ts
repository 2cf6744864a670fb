import { type Node, parseSync, type TSInterfaceDeclaration, Visitor } from "oxc-parser";
import type { SourceFile } from "./source-tree.ts";
import { isTestFile } from "./source-tree.ts";
import type { Untidiness } from "./tidy.ts";

/** Past this, what travels together has a name of its own: `Host`, `Tell`, `Chance`, `StopGraces`. */
const membersMax = 10;

/** Rows, wire formats and definitions are data and not bags: their names end otherwise. */
const bagName = /(Deps|Options|Parts|Services|Query)$/;

interface Bag {
  readonly path: string;
  readonly line: number;
  readonly members: readonly string[];
  readonly parents: readonly Parent[];
}

/** What an interface takes over from another: all, or as `Pick` and `Omit` say. */
interface Parent {
  readonly name: string;
  readonly only?: readonly string[];
  readonly without?: readonly string[];
}

/** Option bags of the product that have too many members, those of the interfaces that they extend included. Pure: the files are given. */
export function findLargeBags(files: readonly SourceFile[]): Untidiness[] {
  const interfaces = new Map<string, Bag>();
  for (const { path, text } of files) {
    if (!path.startsWith("src/") || !path.endsWith(".ts") || isTestFile(path)) continue;
    new Visitor({
      TSInterfaceDeclaration: (node) => {
        interfaces.set(node.id.name, { path, line: text.slice(0, node.start).split("\n").length, ...partsOf(node) });
      },
    }).visit(parseSync(path, text, { lang: "ts" }).program);
  }
  return [...interfaces].flatMap(([name, { path, line }]) => {
    if (!bagName.test(name)) return [];
    const count = membersOf(name, interfaces).size;
    if (count <= membersMax) return [];
    return [{ path, line, message: `${name} has ${count} members: group what travels together (at most ${membersMax})` }];
  });
}

/** An interface of a package, or one that is not known, has none. */
function membersOf(name: string, interfaces: ReadonlyMap<string, Bag>): ReadonlySet<string> {
  const bag = interfaces.get(name);
  if (bag === undefined) return new Set();
  const inherited = bag.parents.flatMap(
    ({ name: parent, only, without = [] }) => only ?? [...membersOf(parent, interfaces)].filter((member) => !without.includes(member)),
  );
  return new Set([...bag.members, ...inherited]);
}

function partsOf({ body, extends: heritage }: TSInterfaceDeclaration): Pick<Bag, "members" | "parents"> {
  const members = body.body.flatMap((member) =>
    (member.type === "TSPropertySignature" || member.type === "TSMethodSignature") && member.key.type === "Identifier"
      ? [member.key.name]
      : [],
  );
  const parents = heritage.flatMap(({ expression, typeArguments }): readonly Parent[] => {
    if (expression.type !== "Identifier") return [];
    const [of, names] = typeArguments?.params ?? [];
    if (expression.name !== "Pick" && expression.name !== "Omit") return [{ name: expression.name }];
    const name = of?.type === "TSTypeReference" && of.typeName.type === "Identifier" ? of.typeName.name : "";
    return [expression.name === "Pick" ? { name, only: literalsOf(names) } : { name, without: literalsOf(names) }];
  });
  return { members, parents };
}

function literalsOf(node: Node | undefined): readonly string[] {
  if (node?.type === "TSUnionType") return node.types.flatMap(literalsOf);
  const literal = node?.type === "TSLiteralType" ? node.literal : undefined;
  return literal?.type === "Literal" && typeof literal.value === "string" ? [literal.value] : [];
}
