import { type Node, type ObjectExpression, parseSync } from "oxc-parser";

/**
 * The fields of each event in source order: the members of the type argument of each `event<...>(...)` in `eventCatalogue`.
 * @throws Error where a type is no object literal, local interface or intersection of these: its fields would go undocumented.
 */
export function readEventFields(path: string, source: string): Record<string, readonly string[]> {
  const { program, errors } = parseSync(path, source, { lang: "ts" });
  if (errors[0] !== undefined) throw new SyntaxError(`${path}: ${errors[0].message}`);
  const interfaces = new Map<string, readonly Node[]>();
  let catalogue: ObjectExpression | undefined;
  for (const statement of program.body) {
    const declaration = statement.type === "ExportNamedDeclaration" ? statement.declaration : statement;
    if (declaration?.type === "TSInterfaceDeclaration") interfaces.set(declaration.id.name, declaration.body.body);
    if (declaration?.type !== "VariableDeclaration") continue;
    for (const { id, init } of declaration.declarations) {
      if (id.type === "Identifier" && id.name === "eventCatalogue" && init?.type === "ObjectExpression") catalogue = init;
    }
  }
  if (catalogue === undefined) throw new Error(`${path} declares no eventCatalogue.`);
  const fieldsOf = (type: Node | undefined): readonly string[] => {
    if (type?.type === "TSTypeLiteral") return type.members.map(fieldOf);
    if (type?.type === "TSIntersectionType") return type.types.flatMap(fieldsOf);
    if (type?.type === "TSTypeReference" && type.typeName.type === "Identifier") {
      const members = interfaces.get(type.typeName.name);
      if (members === undefined) throw new Error(`${path} declares no interface ${type.typeName.name}.`);
      return members.map(fieldOf);
    }
    throw new Error(`${path}: an event's fields are a literal, an interface or an intersection, not ${type?.type ?? "missing"}.`);
  };
  const fieldOf = (member: Node): string => {
    if (member.type !== "TSPropertySignature") throw new Error(`${path}: an event has plain members only, not ${member.type}.`);
    return nameOf(member.key);
  };
  const nameOf = (key: Node): string => {
    if (key.type === "Identifier") return key.name;
    if (key.type === "Literal" && typeof key.value === "string") return key.value;
    throw new Error(`${path}: events and their fields have plain names only.`);
  };
  return Object.fromEntries(
    catalogue.properties.map((property) => {
      const call = property.type === "Property" && property.value.type === "CallExpression" ? property.value : undefined;
      if (property.type !== "Property" || call === undefined) throw new Error(`${path}: an event is \`event<...>(level, meaning)\`.`);
      return [nameOf(property.key), fieldsOf(call.typeArguments?.params[0])];
    }),
  );
}
