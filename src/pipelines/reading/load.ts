import type { Config } from "../../config/config.ts";
import { nearestWord } from "../../config/edit-distance.ts";
import { type ConfigReading, type ConfigRequest, readConfig } from "../../config/load.ts";
import { ConfigError, type ConfigMistake, type Finding, inFileOrder, shownValue } from "../../config/mistake.ts";
import type { Environment } from "../../config/overrides.ts";
import { defaultRunThresholds } from "../../liveness/run-thresholds.ts";
import type { PipelineDefinition } from "../definition.ts";
import type { StageHandler } from "../handler.ts";
import { compatibleStageNames } from "../stage-names.ts";
import { readChain } from "./chain-rules.ts";
import { builtInDefaults, type PipelineDefaults } from "./normalise.ts";
import { doubtfulStages, limitFindings } from "./stage-relations.ts";
import { isDefinedPipeline } from "./typescript.ts";
import { type StageOverride, validatePipelines } from "./validate.ts";

/** Everything that a daemon is started with. */
export interface Configuration {
  readonly config: Config;
  readonly pipelines: readonly PipelineDefinition[];
  /** Functions of pipelines that were written in TypeScript, by handler name. */
  readonly handlers: ReadonlyMap<string, StageHandler>;
  readonly warnings: readonly ConfigMistake[];
}

/** A configuration with everything that is wrong with it; `configuration` is absent when something is. */
export interface ConfigurationReading {
  readonly configuration: Configuration | undefined;
  readonly mistakes: readonly ConfigMistake[];
  readonly warnings: readonly ConfigMistake[];
}

/** Reads settings and pipelines together and reports all mistakes of both. Starts nothing; never throws for a bad configuration. */
export async function readConfiguration(request: ConfigRequest): Promise<ConfigurationReading> {
  const reading = await readConfig(request);
  const { raw, handlers, findings: moduleFindings } = rawPipelines(reading.pipelines.value);
  const stages = stageNamesOf(raw);
  const overrides = stageOverrides(request.env, stages);
  const {
    definitions,
    findings,
    warnings: idle,
  } = validatePipelines(raw, {
    defaults: defaultsOf(reading.config),
    overrideOf: (stage) => overrides.values.get(stage) ?? {},
  });
  const relations = reading.config === undefined ? [] : limitFindings(definitions, configLimits(reading.config));
  const mistakes = [
    ...reading.mistakes,
    ...overrides.mistakes,
    ...[...moduleFindings, ...findings, ...relations].map((finding) => reading.pipelines.locate(finding)),
  ];
  const warnings = [
    ...reading.warnings,
    ...overrides.warnings,
    ...[...idle, ...doubtfulStages(definitions, reading.config?.reaper.maxRunningMs ?? defaultRunThresholds.maxRunningMs)].map((finding) =>
      reading.pipelines.locate(finding),
    ),
  ];
  const { config } = reading;
  if (config === undefined || mistakes.length > 0) return { configuration: undefined, mistakes: inFileOrder(mistakes), warnings };
  return { configuration: Object.freeze({ config, pipelines: Object.freeze(definitions), handlers, warnings }), mistakes: [], warnings };
}

/**
 * Settings and pipelines, ready to start with.
 * @throws {ConfigError} with every mistake of both at once.
 */
export async function loadConfiguration(request: ConfigRequest): Promise<Configuration> {
  const { configuration, mistakes, warnings } = await readConfiguration(request);
  if (configuration === undefined) throw new ConfigError(mistakes, warnings);
  return configuration;
}

/** The settings that stages are checked against, also when live settings change. */
export function configLimits(config: Pick<Config, "worker" | "reaper">): Parameters<typeof limitFindings>[1] {
  return {
    renewMs: config.worker.renewMs,
    reaperMaxRunningMs: config.reaper.maxRunningMs,
    reaperFinalizeGraceMs: config.reaper.finalizeGraceMs,
  };
}

function defaultsOf(config: ConfigReading["config"]): PipelineDefaults {
  if (config === undefined) return builtInDefaults;
  return {
    heartbeatTimeoutMs: config.heartbeat.timeoutMs,
    finalizeGraceMs: config.reaper.finalizeGraceMs,
    intakeMaxBytes: config.intake.maxBytes,
    diskFreeFactor: config.intake.diskFreeFactor,
  };
}

interface RawPipelines {
  readonly raw: unknown;
  readonly handlers: ReadonlyMap<string, StageHandler>;
  readonly findings: readonly Finding[];
}

/** A module's list of defined pipelines as the map that YAML would hold. Any other value is left for validation. */
function rawPipelines(value: unknown): RawPipelines {
  const defined = Array.isArray(value) ? value : isMap(value) ? Object.values(value) : [];
  if (defined.length === 0 || !defined.every(isDefinedPipeline)) return { raw: value, handlers: new Map(), findings: [] };
  const handlers = new Map<string, StageHandler>();
  const findings: Finding[] = [];
  const raw = new Map<string, unknown>();
  for (const pipeline of defined) {
    if (raw.has(pipeline.name)) findings.push({ path: ["pipelines", pipeline.name], value: pipeline.name, rule: "is defined twice" });
    raw.set(pipeline.name, pipeline.input);
    for (const [name, run] of pipeline.handlers) {
      const known = handlers.get(name);
      if (known !== undefined && known !== run)
        findings.push({ path: ["pipelines", pipeline.name], value: name, rule: "is the name of two different handlers" });
      handlers.set(name, run);
    }
  }
  return { raw: Object.fromEntries(raw), handlers, findings };
}

function stageNamesOf(raw: unknown): readonly string[] {
  return isMap(raw) ? [...new Set(Object.values(raw).flatMap((pipeline) => readChain(pipeline).stages.map(({ name }) => name)))] : [];
}

interface StageOverrides {
  readonly values: ReadonlyMap<string, StageOverride>;
  readonly mistakes: readonly ConfigMistake[];
  readonly warnings: readonly ConfigMistake[];
}

const overrideMax = { attempts: 1000, concurrency: 100_000 };

/** `MAX_ATTEMPTS_PREP` and `PREP_CONCURRENCY` set the stage of that name in every pipeline that has one. */
function stageOverrides(env: Environment, stages: readonly string[]): StageOverrides {
  const values = new Map<string, StageOverride>();
  const mistakes: ConfigMistake[] = [];
  const known = new Set<string>();
  for (const stage of stages) {
    const { attemptsVariable, concurrencyVariable } = compatibleStageNames(stage);
    known.add(attemptsVariable);
    const read = (variable: string, max: number): number | undefined => {
      const text = env[variable]?.trim() ?? "";
      if (text === "") return undefined;
      const value = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN;
      if (value >= 1 && value <= max) return value;
      mistakes.push({
        source: "environment",
        path: variable,
        value: shownValue(text, []),
        rule: `must be a whole number from 1 to ${max}`,
      });
      return undefined;
    };
    const attempts = read(attemptsVariable, overrideMax.attempts);
    const concurrency = read(concurrencyVariable, overrideMax.concurrency);
    values.set(stage, { attempts, concurrency });
  }
  // Other programs have a variable called WEB_CONCURRENCY; only the first form is ours beyond doubt.
  const warnings = Object.keys(env)
    .filter((name) => name.startsWith("MAX_ATTEMPTS_") && !known.has(name))
    .map((name): ConfigMistake => {
      const hint = nearestWord(name, known);
      return {
        source: "environment",
        path: name,
        value: "",
        rule: "sets nothing: no stage has that name",
        hint,
      };
    });
  return { values, mistakes, warnings };
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
