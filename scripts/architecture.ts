import { builtinModules } from "node:module";
import { dirname, join, normalize } from "node:path/posix";
import {
  ambientExceptions,
  ambientReads,
  entryLoads,
  layerLimits,
  layers,
  narrowDoors,
  ownedPackages,
  portOnly,
  pureBecause,
  pureBuiltins,
  pureFolders,
  roomOrder,
  siblingParents,
  testPackages,
  textRules,
} from "./import-rules.ts";
import { type ImportedModule, lineFinder, type ParsedModule, parseModule } from "./parsed-module.ts";
import { isTestFile, type SourceFile } from "./source-tree.ts";

/** A place where the code departs from the rules, with the rule's reason. */
export interface Violation {
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

interface Module extends SourceFile {
  readonly parsed: ParsedModule;
  /** Its folder or file directly below `src/`. */
  readonly layer: string;
  readonly isTest: boolean;
}

const layerOrder = new Map(layers.map(({ name }, index) => [name, index]));
const builtins = new Set(builtinModules.flatMap((name) => [name, `node:${name}`]));

/** Judges every file below `src/` by `import-rules.ts`. Files elsewhere are ignored. Pure: the files are given, nothing is read. */
export function findViolations(files: readonly SourceFile[]): Violation[] {
  const modules = files
    .filter(({ path }) => path.startsWith("src/"))
    .map(
      (file): Module => ({ ...file, parsed: parseModule(file.path, file.text), layer: layerOf(file.path), isTest: isTestFile(file.path) }),
    );
  const usedExceptions = new Set<string>();
  const violations = modules.flatMap((module) => [
    ...placeViolations(module),
    ...module.parsed.imports.flatMap((imported) => importViolations(module, imported)),
    ...ambientViolations(module, usedExceptions),
    ...textViolations(module),
  ]);
  const unused = ambientExceptions
    .filter(({ file, name }) => !usedExceptions.has(`${file} ${name}`))
    .map(({ file, name }) => ({
      path: file,
      line: 1,
      message: `the exception for ${name} in scripts/import-rules.ts matches nothing: remove it`,
    }));
  return [...violations, ...entryViolations(modules), ...unused];
}

function placeViolations(module: Module): Violation[] {
  const { path } = module;
  if (!layerOrder.has(module.layer)) return [noPlace(path, `src/${module.layer}`, "layers")];
  return roomOrder.flatMap(({ parent, rooms }) => {
    const room = roomOf(path, parent);
    if (room === undefined || lineOf(room, rooms) !== -1) return [];
    return [noPlace(path, `src/${parent}/${room.name}`, "rooms")];
  });
}

const noPlace = (path: string, place: string, table: "layers" | "rooms"): Violation => ({
  path,
  line: 1,
  message: `${place} has no place in the ${table} of scripts/import-rules.ts`,
});

function importViolations(module: Module, imported: ImportedModule): Violation[] {
  const fail = (message: string): Violation => ({ path: module.path, line: imported.line, message });
  const target = resolveImport(module.path, imported.specifier);
  return target === undefined ? packageViolations(module, imported.specifier, fail) : fileViolations(module, target, fail);
}

function fileViolations(module: Module, target: string, fail: (message: string) => Violation): Violation[] {
  if (!target.startsWith("src/")) {
    if (module.isTest && target.startsWith("test/support/")) return [];
    // A package's description is data, not code.
    if (target === "package.json") return [];
    return [fail(`imports ${target}: what is shipped may only import src/, since the rest is not in the package`)];
  }
  const found: Violation[] = [];
  const targetLayer = layerOf(target);
  const from = layerOrder.get(module.layer);
  const to = layerOrder.get(targetLayer);
  const bothPure = pureFolders.includes(module.layer) && pureFolders.includes(targetLayer);
  if (from !== undefined && to !== undefined && to < from && !bothPure) {
    found.push(fail(`${module.layer} may not import ${targetLayer}: ${layers[to]?.because ?? ""}`));
  }
  if (pureFolders.includes(module.layer) && !pureFolders.includes(targetLayer)) {
    found.push(fail(`${module.layer} imports only ${pureFolders.join(" and ")}: ${pureBecause}`));
  }
  // A test may use anything below its layer.
  if (!module.isTest)
    for (const message of [...limitMessages(module, target), ...roomMessages(module.path, target)]) found.push(fail(message));
  for (const { parent, because } of siblingParents) {
    const own = childFolder(module.path, parent);
    const other = childFolder(target, parent);
    if (own !== undefined && other !== undefined && own !== other) found.push(fail(`${own} may not import ${other}: ${because}`));
  }
  const engine = portOnly.engines.find((folder) => target.startsWith(`src/${folder}/`));
  if (engine !== undefined && !module.isTest && portOnly.layers.includes(module.layer)) {
    found.push(fail(`${module.layer} knows the store's port, not ${engine}: ${portOnly.because}`));
  }
  return found;
}

/** What the limits of its layer and the narrow doors say of an import by a file. */
function limitMessages({ path, layer }: Pick<Module, "path" | "layer">, target: string): readonly string[] {
  const targetLayer = layerOf(target);
  if (layer === targetLayer) return [];
  const limits = layerLimits.filter((limit) => limit.layer === layer);
  return [
    ...limits
      .filter(
        ({ never = [], only }) =>
          never.includes(targetLayer) || (only !== undefined && !only.includes(targetLayer) && !openToAll.includes(targetLayer)),
      )
      .map(({ because }) => `${layer} may not import ${targetLayer}: ${because}`),
    ...narrowDoors
      .filter(({ from, to, only }) => isWithin(path, from) && to === targetLayer && !only.some((part) => isWithin(target, part)))
      .map(
        ({ from, to, only, because }) =>
          `${from} may import of ${to} ${only.length === 0 ? "nothing" : `only ${only.join(" and ")}`}: ${because}`,
      ),
  ];
}

/** What the rooms of a layer say of an import within it. */
function roomMessages(path: string, target: string): readonly string[] {
  return roomOrder.flatMap(({ parent, rooms }) => {
    const from = roomOf(path, parent);
    const to = roomOf(target, parent);
    if (from === undefined || to === undefined || from.name === to.name) return [];
    const fromLine = lineOf(from, rooms);
    const toLine = lineOf(to, rooms);
    // The files beside the rooms are one room, but for those with a line of their own.
    if (fromLine === toLine && from.kind === "*.ts" && rooms[fromLine]?.names.includes("*.ts") === true) return [];
    const line = rooms[fromLine];
    // A room without a line is reported elsewhere, once.
    if (line === undefined || toLine === -1) return [];
    const names = [from.name, to.name].map((name) => `${parent}/${name}`);
    if (toLine > fromLine && (line.only === undefined || line.only.includes(to.name) || line.only.includes(to.kind))) return [];
    const because = toLine < fromLine ? rooms[toLine]?.because : line.because;
    return [`${names.join(" may not import ")}: ${because ?? ""}`];
  });
}

interface Room {
  /** A folder's name, or a file's: `sessions`, `outbox.ts`. */
  readonly name: string;
  /** `*.ts` for a file beside the rooms. */
  readonly kind: string;
}

/** The room of a file below `parent`; undefined for a file elsewhere. A test stands in the room of its folder. */
function roomOf(path: string, parent: string): Room | undefined {
  const prefix = `src/${parent}/`;
  if (!path.startsWith(prefix)) return undefined;
  const [name = "", rest] = path.slice(prefix.length).split("/");
  return rest === undefined ? { name: name.replace(/\.test\.ts$/, ".ts"), kind: "*.ts" } : { name, kind: name };
}

/** A file's own line comes before that of all files beside the rooms. */
function lineOf({ name, kind }: Room, rooms: (typeof roomOrder)[number]["rooms"]): number {
  const own = rooms.findIndex(({ names }) => names.includes(name));
  return own === -1 ? rooms.findIndex(({ names }) => names.includes(kind)) : own;
}

function packageViolations(module: Module, specifier: string, fail: (message: string) => Violation): Violation[] {
  if (builtins.has(specifier)) {
    if (!specifier.startsWith("node:")) return [fail(`write node:${specifier}, which no package can shadow`)];
    if (!pureFolders.includes(module.layer) || pureBuiltins.includes(specifier)) return [];
    return [fail(`${module.layer} may not import ${specifier}: ${pureBecause}`)];
  }
  const name = packageName(specifier);
  if (module.isTest && testPackages.includes(name)) return [];
  if (pureFolders.includes(module.layer)) return [fail(`${module.layer} may not import the package ${name}: ${pureBecause}`)];
  if (testPackages.includes(name)) return [fail(`only tests may import ${name}: it is not installed with the package`)];
  const rule = ownedPackages.find(({ packages }) => packages.includes(name));
  if (rule === undefined || rule.owners.includes(module.layer)) return [];
  return [fail(`only src/${rule.owners.join(" and src/")} may import ${name}: ${rule.because}`)];
}

function ambientViolations(module: Module, usedExceptions: Set<string>): Violation[] {
  // A test sits outside the program: it may read the machine it runs on. It still may not sleep, which the tidy check holds.
  if (module.isTest) return [];
  const seen = new Set<string>();
  return module.parsed.uses.flatMap(({ name, line }) => {
    for (const { names, allowedIn, because } of ambientReads) {
      // `process.hrtime.bigint` and `process.env.HOME` are longer spellings of what the table names.
      const read = names.find((candidate) => name === candidate || name.startsWith(`${candidate}.`));
      if (read === undefined || allowedIn.includes(module.layer)) continue;
      if (ambientExceptions.some((exception) => exception.file === module.path && exception.name === read)) {
        usedExceptions.add(`${module.path} ${read}`);
        continue;
      }
      const key = `${line} ${read}`;
      if (seen.has(key)) continue;
      seen.add(key);
      return [{ path: module.path, line, message: `${read} belongs to src/${allowedIn.join(" and src/")}: ${because}` }];
    }
    return [];
  });
}

function textViolations({ path, parsed: { code }, isTest }: Module): Violation[] {
  if (isTest) return [];
  const lineAt = lineFinder(code);
  return textRules
    .filter(({ allowedIn }) => !allowedIn.some((part) => isWithin(path, part)))
    .flatMap(({ what, pattern, allowedIn, because }) => {
      const place = allowedIn.length === 0 ? "is written nowhere" : `belongs to src/${allowedIn.join(" and src/")}`;
      return [...code.matchAll(new RegExp(pattern, "g"))].map(({ index }) => ({
        path,
        line: lineAt(index),
        message: `${what} ${place}: ${because}`,
      }));
    });
}

function entryViolations(modules: readonly Module[]): Violation[] {
  const byPath = new Map(modules.map((module) => [module.path, module]));
  return entryLoads.flatMap(({ entry, never, because }) => {
    const found: Violation[] = [];
    const cameFrom = new Map<string, string | undefined>([[entry, undefined]]);
    const queue = [entry];
    for (let path = queue.shift(); path !== undefined; path = queue.shift()) {
      for (const imported of byPath.get(path)?.parsed.imports ?? []) {
        if (imported.typeOnly || imported.dynamic) continue;
        const target = resolveImport(path, imported.specifier) ?? packageName(imported.specifier);
        if (cameFrom.has(target)) continue;
        cameFrom.set(target, path);
        const forbidden = never.find((name) => target === name || target.startsWith(`${name}/`));
        if (forbidden === undefined) queue.push(target);
        else
          found.push({
            path,
            line: imported.line,
            message: `loading ${entry} would load ${target} (${chain(cameFrom, target)}): ${because}`,
          });
      }
    }
    return found;
  });
}

function chain(cameFrom: ReadonlyMap<string, string | undefined>, target: string): string {
  const steps = [target];
  for (let step = cameFrom.get(target); step !== undefined; step = cameFrom.get(step)) steps.unshift(step);
  return steps.join(" -> ");
}

/** Layers without a say in who imports them, where a limit names what else is open. */
const openToAll: readonly string[] = ["domain", "runtime", "telemetry"];

/** Whether the file is the named one below `src/`, or lies in the named folder. */
const isWithin = (path: string, part: string): boolean => path === `src/${part}` || path.startsWith(`src/${part}/`);

/** The repository path that a relative specifier means; undefined for packages and built-in modules. */
function resolveImport(from: string, specifier: string): string | undefined {
  return specifier.startsWith(".") ? normalize(join(dirname(from), specifier)) : undefined;
}

/** A test of a top file stands in the line of that file. */
const layerOf = (path: string): string => (path.split("/")[1] ?? "").replace(/\.test\.ts$/, ".ts");

const packageName = (specifier: string): string => specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");

/** `fleet/providers/mock` of `src/fleet/providers/mock/x.ts`; undefined for files directly in the parent. */
function childFolder(path: string, parent: string): string | undefined {
  const prefix = `src/${parent}/`;
  if (!path.startsWith(prefix)) return undefined;
  const [child, rest] = path.slice(prefix.length).split("/");
  return rest === undefined ? undefined : `${parent}/${child}`;
}
