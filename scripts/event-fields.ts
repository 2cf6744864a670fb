import { type Node, parseSync } from "oxc-parser";

/**
 * The fields of each event, in the order of the source: the members of the interface `WakefulEvents`, whose types are object literals, local
 * interfaces, or intersections of these. Throws on any other form, because a field that is not listed is a field that nobody documents.
 */
export function readEventFields(path: string, source: string): Record<string, readonly string[]> {
  const { program, errors } = parseSync(path, source, { lang: "ts" });
  if (errors[0] !== undefined) throw new SyntaxError(`${path}: ${errors[0].message}`);
  const interfaces = new Map<string, readonly Node[]>();
  for (const statement of program.body) {
    const declaration = statement.type === "ExportNamedDeclaration" ? statement.declaration : statement;
    if (declaration?.type === "TSInterfaceDeclaration") interfaces.set(declaration.id.name, declaration.body.body);
  }
  const membersOf = (name: string): readonly Node[] => {
    const members = interfaces.get(name);
    if (members === undefined) throw new Error(`${path} declares no interface ${name}.`);
    return members;
  };
  const fieldsOf = (type: Node): readonly string[] => {
    if (type.type === "TSTypeLiteral") return type.members.map(keyOf);
    if (type.type === "TSIntersectionType") return type.types.flatMap(fieldsOf);
    if (type.type === "TSTypeReference" && type.typeName.type === "Identifier") return membersOf(type.typeName.name).map(keyOf);
    throw new Error(`${path}: an event's fields are a literal, an interface or an intersection, not ${type.type}.`);
  };
  const keyOf = (member: Node): string => {
    if (member.type !== "TSPropertySignature") throw new Error(`${path}: an event has plain members only, not ${member.type}.`);
    if (member.key.type === "Identifier") return member.key.name;
    if (member.key.type === "Literal" && typeof member.key.value === "string") return member.key.value;
    throw new Error(`${path}: an event has plain members only.`);
  };
  return Object.fromEntries(
    membersOf("WakefulEvents").map((member) => {
      const type = member.type === "TSPropertySignature" ? member.typeAnnotation?.typeAnnotation : undefined;
      if (type === undefined || type === null) throw new Error(`${path}: an event of WakefulEvents has no type.`);
      return [keyOf(member), fieldsOf(type)];
    }),
  );
}
