import { type Node, parseSync, type TSInterfaceDeclaration, type TSTypeAliasDeclaration, Visitor } from "oxc-parser";
import type { SourceFile } from "./source-tree.ts";
import { isTestFile } from "./source-tree.ts";
import { nameOf } from "./syntax-tree.ts";
import type { Untidiness } from "./tidy.ts";

/** Past this, what travels together has a name of its own: `Host`, `Tell`, `Chance`, `StopGraces`. */
const membersMax = 10;

/** Rows, wire formats and definitions are data and not bags: their names end otherwise. */
const bagName = /(Deps|Options|Parts|Services|Query)$/;

interface Declaration {
  readonly path: string;
  readonly line: number;
  readonly node: TSInterfaceDeclaration | TSTypeAliasDeclaration;
}

/** The members of what a type calls by name. */
type Find = (name: string) => ReadonlySet<string>;

/**
 * Option bags of the product that have too many members, those of the types that they extend or are put together of included. Pure: the
 * files are given.
 */
export function findLargeBags(files: readonly SourceFile[]): Untidiness[] {
  const declarations: Declaration[] = [];
  for (const { path, text } of files) {
    if (!path.startsWith("src/") || !path.endsWith(".ts") || isTestFile(path)) continue;
    const declare = (node: Declaration["node"]): void => {
      declarations.push({ path, line: text.slice(0, node.start).split("\n").length, node });
    };
    new Visitor({ TSInterfaceDeclaration: declare, TSTypeAliasDeclaration: declare }).visit(parseSync(path, text, { lang: "ts" }).program);
  }
  return declarations.flatMap((declaration) => {
    const { path, line, node } = declaration;
    if (!bagName.test(node.id.name)) return [];
    const count = membersOf(declaration, declarations).size;
    if (count <= membersMax) return [];
    return [{ path, line, message: `${node.id.name} has ${count} members: group what travels together (at most ${membersMax})` }];
  });
}

/**
 * @param above - What is being counted: a name of a package, which is not known, may be that of one of those.
 */
function membersOf(declaration: Declaration, all: readonly Declaration[], above: readonly Declaration[] = []): ReadonlySet<string> {
  const { path, node } = declaration;
  const counting = [...above, declaration];
  const find: Find = (name) => {
    const named = all.filter((each) => each.node.id.name === name && !counting.includes(each));
    const meant = named.find((each) => each.path === path) ?? named[0];
    return meant === undefined ? new Set() : membersOf(meant, all, counting);
  };
  if (node.type === "TSTypeAliasDeclaration") return membersOfType(node.typeAnnotation, find);
  const inherited = node.extends.flatMap(({ expression, typeArguments }) => [...membersOfNamed(expression, typeArguments?.params, find)]);
  return new Set([...namesOf(node.body.body), ...inherited]);
}

/** An object type and what it is joined with. A choice of types, or one that is computed, has none. */
function membersOfType(type: Node | undefined, find: Find): ReadonlySet<string> {
  if (type?.type === "TSTypeLiteral") return new Set(namesOf(type.members));
  if (type?.type === "TSIntersectionType") return new Set(type.types.flatMap((each) => [...membersOfType(each, find)]));
  if (type?.type === "TSParenthesizedType") return membersOfType(type.typeAnnotation, find);
  return type?.type === "TSTypeReference" ? membersOfNamed(type.typeName, type.typeArguments?.params, find) : new Set();
}

/** What a type takes over from a named one: all, or as `Pick` and `Omit` say. */
function membersOfNamed(named: Node, [of, keys]: readonly Node[] = [], find: Find): ReadonlySet<string> {
  const name = nameOf(named);
  if (name === "Pick") return new Set(literalsOf(keys));
  const without = literalsOf(keys);
  if (name === "Omit") return new Set([...membersOfType(of, find)].filter((member) => !without.includes(member)));
  return ["Readonly", "Partial", "Required"].includes(name) ? membersOfType(of, find) : find(name);
}

function namesOf(members: readonly Node[]): readonly string[] {
  return members.flatMap((member) =>
    member.type === "TSPropertySignature" || member.type === "TSMethodSignature" ? [nameOf(member.key)] : [],
  );
}

function literalsOf(node: Node | undefined): readonly string[] {
  if (node?.type === "TSUnionType") return node.types.flatMap(literalsOf);
  const literal = node?.type === "TSLiteralType" ? node.literal : undefined;
  return literal?.type === "Literal" && typeof literal.value === "string" ? [literal.value] : [];
}
