import type { CallExpression, Node } from "oxc-parser";
import { parse as parseYaml } from "yaml";
import { listedSettings } from "../src/config/reference.ts";
import { configSchema } from "../src/config/schema.ts";
import { wakefulJsonSchema } from "../src/pipelines/reading/json-schema.ts";
import { builtInDefaults } from "../src/pipelines/reading/normalise.ts";
import { validatePipelines } from "../src/pipelines/reading/validate.ts";
import type { SourceFile } from "./source-tree.ts";
import { dottedName, nameOf, programOf, textOf, walk } from "./syntax-tree.ts";

/**
 * Every documented setting by the name that the title of its test has: `reaper.deadTicks`, of a stage `stage.retry.min`, of a pipeline
 * `pipeline.intake.match`. A gate within a gate has the names of a gate.
 */
export function documentedSettings(): readonly string[] {
  const names = new Set(listedSettings.map(({ key }) => key));
  const visit = (schema: JsonSchema, path: Path): void => {
    if (schema.description?.endsWith("Not available yet.") === true) return;
    const { anyOf, properties = {}, additionalProperties } = schema;
    const members = [
      ...Object.entries(properties),
      ...(typeof additionalProperties === "object" ? [["*", additionalProperties] as const] : []),
    ];
    for (const variant of anyOf ?? []) visit(variant, path);
    for (const [key, member] of members) visit(member, [...path, key]);
    if (anyOf === undefined && members.length === 0) names.add(nameOfSetting(path));
  };
  const { pipelines } = wakefulJsonSchema()["properties"] as Readonly<Record<string, JsonSchema>>;
  if (pipelines !== undefined) visit(pipelines, ["pipelines"]);
  return [...names];
}

interface JsonSchema {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly anyOf?: readonly JsonSchema[];
}

/**
 * The settings that a file's tests show at work: a test counts if it loads a configuration with a value other than the default, expects
 * something, and names the setting in its title, where `*` stands for each given one.
 */
export function settingsSeen(file: SourceFile, documented: readonly string[]): ReadonlySet<string> {
  const seen = new Set<string>();
  if (!loaders.some((loader) => file.text.includes(loader))) return seen;
  const program = programOf(file);
  const declared = declarationsOf(program);
  walk(program, (node) => {
    const title = node.type === "CallExpression" ? titleOf(node) : undefined;
    if (node.type !== "CallExpression" || title === undefined) return;
    const used = namesUsed(node, declared);
    if (!demands.some((name) => used.has(name)) || !loaders.some((loader) => used.has(loader))) return;
    const given = givenIn(node, declared);
    const words = wordsOf(node, title);
    for (const name of documented)
      if (given.some((each) => matches(each, name)) && words.some((each) => matches(each, name))) seen.add(name);
  });
  return seen;
}

/** What reads a configuration, and hands it on to what it is for. */
const loaders = ["loadConfiguration", "startTestDaemon", "configuredLoops"];

/** What a test fails by. */
const demands = ["expect", "until"];

/** What a template fills in, as far as it is not known here. */
const hole = "…";

/** A name with wildcards: `*` of people, `%s` of a table of tests, and what a template fills in. Wildcards alone name nothing. */
function matches(pattern: string, name: string): boolean {
  if (pattern === name) return true;
  if (!/^[\w.*%…-]+$/.test(pattern) || !/[*%…]/.test(pattern)) return false;
  if (!/[a-z]/i.test(pattern.replaceAll("%s", ""))) return false;
  return new RegExp(`^${pattern.replaceAll(".", String.raw`\.`).replaceAll(/\*|%s|…/g, ".+")}$`).test(name);
}

/** `test("title", …)` and `test.each(rows)("title", …)`. */
function titleOf(call: CallExpression): string | undefined {
  const callee = call.callee.type === "CallExpression" ? call.callee.callee : call.callee;
  return /^(test|it)(\.each)?$/.test(dottedName(callee) ?? "") ? textOf(call.arguments[0]) : undefined;
}

/** The words of a title, and those texts of its table that are one. */
function wordsOf(test: CallExpression, title: string): readonly string[] {
  const rows: string[] = [];
  if (test.callee.type === "CallExpression" && title.includes("%s"))
    walk(test.callee, (node) => {
      const text = textOf(node);
      if (text !== undefined) rows.push(text);
    });
  return [...title.split(/[\s,:;()]+/), ...rows];
}

type Declarations = ReadonlyMap<string, Node>;

/** What is declared anywhere in a file, by name: constants with their value, functions with themselves. */
function declarationsOf(program: Node): Declarations {
  const declared = new Map<string, Node>();
  walk(program, (node) => {
    if (node.type === "VariableDeclarator" && node.id.type === "Identifier" && node.init !== null) declared.set(node.id.name, node.init);
    if (node.type === "FunctionDeclaration" && node.id !== null) declared.set(node.id.name, node);
  });
  return declared;
}

/** Every name that a test uses, by itself or through what the file declares. */
function namesUsed(test: Node, declared: Declarations): ReadonlySet<string> {
  const names = new Set<string>();
  const visit = (node: Node): void => {
    walk(node, (each) => {
      if (each.type !== "Identifier" || names.has(each.name)) return;
      names.add(each.name);
      const declaration = declared.get(each.name);
      if (declaration !== undefined) visit(declaration);
    });
  };
  visit(test);
  return names;
}

/** The settings that texts of YAML and objects of flags in a test hold, with another value than the default. */
function givenIn(test: Node, declared: Declarations): readonly string[] {
  const given = new Set<string>();
  walk(test, (node) => {
    if (node.type === "Property") {
      const key = nameOf(node.key);
      const value = node.value.type === "Literal" ? node.value.value : hole;
      if (listedSettings.some((each) => each.key === key) && isNoDefault(key.split("."), value)) given.add(key);
    }
    const text = valueOf(node, declared, new Map());
    if (text?.includes(":") === true) for (const name of settingsIn(text)) given.add(name);
  });
  return [...given];
}

/** The text that an expression has, with a hole for each part that is not written in this file. */
function valueOf(node: Node, declared: Declarations, locals: ReadonlyMap<string, string>): string | undefined {
  const text = textOf(node);
  if (text !== undefined) return text;
  if (node.type === "Identifier") {
    const declaration = declared.get(node.name);
    return (
      locals.get(node.name) ?? (declaration === undefined || declaration === node ? undefined : valueOf(declaration, declared, locals))
    );
  }
  if (node.type === "TemplateLiteral") {
    const filled = node.expressions.map((each) => valueOf(each, declared, locals) ?? hole);
    return node.quasis.map((quasi, at) => `${quasi.value.cooked ?? ""}${filled[at] ?? ""}`).join("");
  }
  return node.type === "CallExpression" ? answerOf(node, declared, locals) : undefined;
}

/** What a function of this file that only makes a text answers to a call. */
function answerOf(call: CallExpression, declared: Declarations, locals: ReadonlyMap<string, string>): string | undefined {
  const name = dottedName(call.callee) ?? "";
  const [first] = call.arguments;
  if (name === "JSON.stringify" && first !== undefined) return JSON.stringify(valueOf(first, declared, locals) ?? hole);
  const called = declared.get(name);
  if (called?.type !== "ArrowFunctionExpression" || called.body.type === "BlockStatement") return undefined;
  const bound = new Map(locals);
  for (const [at, parameter] of called.params.entries()) {
    const [id, fallback] = parameter.type === "AssignmentPattern" ? [parameter.left, parameter.right] : [parameter, undefined];
    const argument = call.arguments[at] ?? fallback;
    if (id.type === "Identifier") bound.set(id.name, (argument === undefined ? undefined : valueOf(argument, declared, locals)) ?? hole);
  }
  return valueOf(called.body, declared, bound);
}

/** The settings in a configuration file with another value than the default; none in a text that is no such file. */
function settingsIn(yaml: string): readonly string[] {
  let file: unknown;
  try {
    file = parseYaml(yaml, { logLevel: "silent" });
  } catch {
    return [];
  }
  return leavesOf(file).flatMap(({ path, value }) => {
    const others = path[0] === "pipelines" ? changesDefinition(file, path) : isNoDefault(path.map(String), value);
    return others ? [nameOfSetting(path)] : [];
  });
}

type Path = readonly (string | number)[];

function leavesOf(value: unknown, path: Path = []): readonly { readonly path: Path; readonly value: unknown }[] {
  const below = Array.isArray(value) ? [...value.entries()] : isMap(value) ? Object.entries(value) : [];
  const here = path.length === 0 ? [] : [{ path, value }];
  return [...here, ...below.flatMap(([key, member]) => leavesOf(member, [...path, key]))];
}

/** The part of a pipeline or stage that a path in the file leads to, without the names that the file gives them. */
function nameOfSetting(path: Path): string {
  if (path[0] !== "pipelines") return path.join(".");
  const [, , part, ...rest] = path.filter((step) => typeof step === "string");
  if (part !== "stages") return ["pipeline", part, ...rest].join(".");
  const [, ...steps] = rest;
  if (steps[0] === "env") return ["stage", "env", "*", ...steps.slice(2)].join(".");
  const within =
    steps[0] === "gate"
      ? ["gate", ...steps.slice(1).filter((step, at, all) => at === all.length - 1 || !/^(all|any|not)$/.test(step))]
      : steps;
  return ["stage", ...within].join(".");
}

/** Whether a setting with this value differs from one that is not there; a value with a hole does. */
function isNoDefault(path: readonly string[], value: unknown): boolean {
  if (JSON.stringify([path, value]).includes(hole)) return true;
  const nested = path.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value);
  const parsed = configSchema.safeParse(nested);
  return parsed.success && textAt(parsed.data, path) !== textAt(configSchema.parse({}), path);
}

/** Whether the pipelines of a file are others without this member. In a file with holes every member counts. */
function changesDefinition(file: unknown, path: Path): boolean {
  if (JSON.stringify(file).includes(hole)) return true;
  const { definitions, findings } = validatePipelines(memberOf(file, "pipelines"), { defaults: builtInDefaults });
  if (findings.length > 0) return false;
  const without = structuredClone(file);
  const holder = path.slice(0, -1).reduce<unknown>(memberOf, without);
  if (isMap(holder)) Reflect.deleteProperty(holder, path.at(-1) ?? "");
  const rest = validatePipelines(memberOf(without, "pipelines"), { defaults: builtInDefaults });
  return rest.findings.length > 0 || JSON.stringify(rest.definitions) !== JSON.stringify(definitions);
}

const textAt = (value: unknown, path: Path): string | undefined => JSON.stringify(path.reduce<unknown>(memberOf, value));

function memberOf(value: unknown, key: string | number): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
}

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
