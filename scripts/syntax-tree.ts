import { type Node, parseSync } from "oxc-parser";
import type { SourceFile } from "./source-tree.ts";

/** The nodes above one, from the outside in. */
export type Ancestors = readonly Node[];

export function dottedName(node: Node): string | undefined {
  if (node.type === "Identifier") return node.name;
  if (node.type !== "MemberExpression" || node.computed) return undefined;
  const head = dottedName(node.object);
  return head === undefined ? undefined : `${head}.${nameOf(node.property)}`;
}

export function lastNameOf(node: Node): string | undefined {
  if (node.type === "Identifier") return node.name;
  if (node.type === "MemberExpression") return nameOf(node.property);
  if (node.type === "ChainExpression") return lastNameOf(node.expression);
  return node.type === "AwaitExpression" ? lastNameOf(node.argument) : undefined;
}

export function nameOf(node: Node): string {
  if (node.type === "Identifier" || node.type === "PrivateIdentifier") return node.name;
  return textOf(node) ?? "";
}

export function textOf(node: Node | undefined): string | undefined {
  if (node?.type === "Literal") return typeof node.value === "string" ? node.value : undefined;
  return node?.type === "TemplateLiteral" && node.quasis.length === 1 ? (node.quasis[0]?.value.cooked ?? undefined) : undefined;
}

export function programOf({ path, text }: SourceFile): Node {
  const { program, errors } = parseSync(path, text, { lang: "ts" });
  if (errors[0] !== undefined) throw new SyntaxError(`${path}: ${errors[0].message}`);
  return program;
}

/** Visits each node below `node` with those above it, from the outside in. */
export function walk(node: Node, visit: (node: Node, ancestors: Ancestors) => void, ancestors: Node[] = []): void {
  visit(node, ancestors);
  ancestors.push(node);
  for (const value of Object.values(node)) {
    for (const child of (Array.isArray(value) ? value : [value]) as unknown[]) if (isNode(child)) walk(child, visit, ancestors);
  }
  ancestors.pop();
}

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";
