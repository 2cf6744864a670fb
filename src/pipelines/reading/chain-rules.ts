import { nearestWord } from "../../config/edit-distance.ts";
import type { Finding, KeyPath } from "../../config/mistake.ts";
import { compatibleStageNames } from "../stage-names.ts";
import { namePattern, nameRule } from "./schema.ts";

const nameExpression = new RegExp(namePattern);

/** Whether a pipeline or stage may be called `name`. Names of built-in object members would match lookups in any record. */
function isAllowedName(name: string): boolean {
  return nameExpression.test(name) && !(name in Object.prototype);
}

export function nameFinding(name: string, path: KeyPath): readonly Finding[] {
  return isAllowedName(name) ? [] : [{ path, atKey: true, value: name, rule: nameRule }];
}

/** What a raw pipeline says about its chain, whatever else is wrong with it. */
export interface RawChain {
  readonly first: string | undefined;
  /** Every stage in the order of declaration, with its `next`. */
  readonly stages: readonly { readonly name: string; readonly next: string | undefined }[];
}

/** Reads the chain from raw data. Values of a wrong kind count as absent, because the schema reports them. */
export function readChain(raw: unknown): RawChain {
  const pipeline = isMap(raw) ? raw : {};
  const stages = isMap(pipeline["stages"]) ? pipeline["stages"] : {};
  return {
    first: textOf(pipeline["first"]),
    stages: Object.entries(stages).map(([name, stage]) => ({ name, next: isMap(stage) ? textOf(stage["next"]) : undefined })),
  };
}

const textOf = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** The stage that items enter: the declared one, else the first declared one that no `next` names. */
export function firstStageOf({ first, stages }: RawChain): string | undefined {
  if (first !== undefined) return stages.some(({ name }) => name === first) ? first : undefined;
  const followers = new Set(stages.map(({ next }) => next));
  return stages.find(({ name }) => !followers.has(name))?.name;
}

/** Mistakes in the names of the stages and the path through them. */
export function chainFindings(chain: RawChain, path: KeyPath): readonly Finding[] {
  const at = (...steps: string[]): KeyPath => [...path, "stages", ...steps];
  const names = chain.stages.map(({ name }) => name);
  if (names.length === 0) return [{ path: at(), value: undefined, rule: "must hold at least one stage" }];
  return [
    ...names.flatMap((name) => nameFinding(name, at(name))),
    ...sharedNames(names, at),
    ...wayFindings(chain, path, unknownTargets(chain, path, names)),
  ];
}

function sharedNames(names: readonly string[], at: (...steps: string[]) => KeyPath): Finding[] {
  const owners = new Map<string, string>();
  return names.flatMap((name) => {
    const { running } = compatibleStageNames(name);
    const owner = owners.get(running);
    if (owner === undefined) owners.set(running, name);
    return owner === undefined
      ? []
      : [
          {
            path: at(name),
            atKey: true,
            value: name,
            rule: `shares ${running} and its heartbeat file with the stage "${owner}": rename one`,
          },
        ];
  });
}

function unknownTargets({ first, stages }: RawChain, path: KeyPath, names: readonly string[]): Finding[] {
  const rule = `names no stage of this pipeline (${names.join(", ")})`;
  const finding = (target: string | undefined, at: KeyPath): Finding[] => {
    if (target === undefined || names.includes(target)) return [];
    const hint = nearestWord(target, names);
    return [{ path: at, value: target, rule, hint }];
  };
  return [...finding(first, [...path, "first"]), ...stages.flatMap(({ name, next }) => finding(next, [...path, "stages", name, "next"]))];
}

/** Unknown targets, cycles, unreachable stages, and a pipeline without a beginning. */
function wayFindings(chain: RawChain, path: KeyPath, unknown: readonly Finding[]): Finding[] {
  const nextOf = new Map(chain.stages.map(({ name, next }) => [name, next]));
  const cycles = cyclesOf(nextOf);
  const inCircle = cycles.map((cycle): Finding => {
    const last = cycle.at(-1) ?? "";
    // `next` is always followed, so no budget of attempts would end a cycle: only a chain with an end terminates.
    return {
      path: [...path, "stages", last, "next"],
      value: nextOf.get(last),
      rule: `leads in a circle (${[...cycle, cycle[0]].join(" -> ")}): an item would never end`,
    };
  });
  const findings: Finding[] = [...unknown, ...inCircle];
  const first = firstStageOf(chain);
  if (first === undefined) {
    if (chain.first === undefined)
      findings.push({
        path: [...path, "stages"],
        atKey: true,
        value: undefined,
        rule: "has no first stage: every stage is some other's `next`",
      });
    return findings;
  }
  const reached = new Set<string>();
  for (let name: string | undefined = first; name !== undefined && nextOf.has(name) && !reached.has(name); name = nextOf.get(name))
    reached.add(name);
  const inCycle = new Set(cycles.flat());
  for (const name of nextOf.keys()) {
    // A misspelt `next` makes its target unreachable: one mistake, reported once.
    if (unknown.length > 0 || reached.has(name) || inCycle.has(name)) continue;
    findings.push({
      path: [...path, "stages", name],
      atKey: true,
      value: name,
      rule: `is reached by nobody: no way from "${first}" leads here, so name it in a \`next\``,
    });
  }
  return findings;
}

function cyclesOf(nextOf: ReadonlyMap<string, string | undefined>): string[][] {
  const settled = new Set<string>();
  const cycles: string[][] = [];
  for (const start of nextOf.keys()) {
    const way: string[] = [];
    const onWay = new Set<string>();
    let name: string | undefined = start;
    while (name !== undefined && nextOf.has(name) && !settled.has(name) && !onWay.has(name)) {
      way.push(name);
      onWay.add(name);
      name = nextOf.get(name);
    }
    if (name !== undefined && onWay.has(name)) cycles.push(way.slice(way.indexOf(name)));
    for (const each of way) settled.add(each);
  }
  return cycles;
}
