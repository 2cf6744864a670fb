import { expect, test } from "vitest";
import { readPipelinesYaml } from "./yaml.ts";

const mistakesOf = (text: string) =>
  readPipelinesYaml(text).mistakes.map(({ path, line, column, rule, hint }) => ({ path, line, column, rule, hint }));
/** A pipeline `p` whose stages are the given lines. */
const withStages = (...lines: string[]): string =>
  ["pipelines:", "  p:", "    stages:", ...lines.map((line) => `      ${line}`)].join("\n");
/** A pipeline `p` with one stage `s` that has the given keys beside its command. */
const withStage = (...lines: string[]): string =>
  withStages("s:", "  run: { command: [true] }".replace("true", '"true"'), ...lines.map((line) => `  ${line}`));

/** The same with a handler. */
const withHandler = (...lines: string[]): string => withStages("s:", "  run: { handler: h }", ...lines.map((line) => `  ${line}`));

interface Case {
  readonly what: string;
  readonly text: string;
  readonly at: readonly [path: string, line: number, column: number];
  readonly rule: string;
  readonly hint?: string;
}

const stagePath = (key: string): string => `pipelines.p.stages.s.${key}`;

const cases: readonly Case[] = [
  { what: "pipelines that are a list", text: "pipelines: [1]", at: ["pipelines", 1, 12], rule: "must be a map of pipelines by name" },
  { what: "a pipeline that is a text", text: "pipelines:\n  p: x", at: ["pipelines.p", 2, 6], rule: "must be a map" },
  {
    what: "a pipeline without stages",
    text: "pipelines:\n  p: {}",
    at: ["pipelines.p.stages", 2, 3],
    rule: "is missing; it must be a map",
  },
  {
    what: "no stage at all",
    text: "pipelines:\n  p:\n    stages: {}",
    at: ["pipelines.p.stages", 3, 13],
    rule: "must hold at least one stage",
  },
  {
    what: "an unknown key of a pipeline",
    text: "pipelines:\n  p:\n    stage: {}\n    stages: { s: { run: { handler: h } } }",
    at: ["pipelines.p.stage", 3, 5],
    rule: "is not a key",
    hint: "stages",
  },
  {
    what: "an unknown key of a stage",
    text: withStage("timout: 5s"),
    at: [stagePath("timout"), 6, 9],
    rule: "is not a key",
    hint: "timeout",
  },
  { what: "a stage without run", text: withStages("s: {}"), at: [stagePath("run"), 4, 7], rule: "is missing; it must be a map" },
  {
    what: "an empty run",
    text: withStages("s: { run: {} }"),
    at: [stagePath("run"), 4, 17],
    rule: "must have exactly one of command, handler; none is there",
  },
  {
    what: "two ways to run",
    text: withStages("s: { run: { command: [a], handler: b } }"),
    at: [stagePath("run"), 4, 17],
    rule: "command and handler are there",
  },
  {
    what: "a misspelt way to run",
    text: withStages("s: { run: { comand: [a] } }"),
    at: [stagePath("run.comand"), 4, 19],
    rule: "is not a key",
    hint: "command",
  },
  {
    what: "an HTTP stage",
    text: withStages("s: { run: { http: http://x } }"),
    at: [stagePath("run.http"), 4, 25],
    rule: "is not available yet: run a command or a handler that calls the service",
  },
  {
    what: "bytes as a text in a gate",
    text: withStages('s: { run: { command: [a] }, gate: { file: a.jpg, startsWith: "\\xff\\xd8" } }'),
    at: [stagePath("gate.startsWith"), 4, 68],
    rule: "must be ASCII; bytes are given in hexadecimal, as signature: ffd8ff",
  },
  {
    what: "a signature that is no hexadecimal text",
    text: withStages('s: { run: { command: [a] }, gate: { file: a.jpg, signature: "xyz" } }'),
    at: [stagePath("gate.signature"), 4, 67],
    rule: "must be 1 to 64 bytes as pairs of hexadecimal digits",
  },
  {
    what: "a command line instead of words",
    text: withStages("s: { run: { command: node x.js } }"),
    at: [stagePath("run.command"), 4, 28],
    rule: "no shell is in between",
  },
  {
    what: "a number among the words",
    text: withStages("s: { run: { command: [sleep, 5] } }"),
    at: [stagePath("run.command[1]"), 4, 36],
    rule: "must be a text: put numbers",
  },
  {
    what: "a command without a program",
    text: withStages("s: { run: { command: [] } }"),
    at: [stagePath("run.command"), 4, 28],
    rule: "must name a program",
  },
  {
    what: "a handler's name like an option",
    text: withStages("s: { run: { handler: -x } }"),
    at: [stagePath("run.handler"), 4, 28],
    rule: "must be a handler's name",
  },
  {
    what: "a duration without a unit",
    text: withStage("timeout: 600"),
    at: [stagePath("timeout"), 6, 18],
    rule: "needs a unit: write 600s for seconds",
  },
  {
    what: "a duration in words",
    text: withStage("timeout: 2 hours"),
    at: [stagePath("timeout"), 6, 18],
    rule: "must be a number and a unit",
  },
  {
    what: "a heartbeat timeout of zero",
    text: withStage("heartbeat: { timeout: 0s }"),
    at: [stagePath("heartbeat.timeout"), 6, 31],
    rule: "must be 1s to 30d",
  },
  {
    what: "an unknown sign of life",
    text: withStage("heartbeat: { from: ouput }"),
    at: [stagePath("heartbeat.from"), 6, 28],
    rule: "must be one of file, output",
    hint: "output",
  },
  {
    what: "no attempts",
    text: withStage("attempts: 0"),
    at: [stagePath("attempts"), 6, 19],
    rule: "must be a whole number from 1 to 1000",
  },
  { what: "half an attempt", text: withStage("attempts: 1.5"), at: [stagePath("attempts"), 6, 19], rule: "must be a whole number" },
  {
    what: "a number in quotes",
    text: withStage('concurrency: "2"'),
    at: [stagePath("concurrency"), 6, 22],
    rule: "must be a whole number",
  },
  {
    what: "a size with a strange unit",
    text: withStage("log: { maxBytes: 5XB }"),
    at: [stagePath("log.maxBytes"), 6, 26],
    rule: "such as 500MB",
  },
  {
    what: "a log below the least that can be cut",
    text: withStage("log: { maxBytes: 4095 }"),
    at: [stagePath("log.maxBytes"), 6, 26],
    rule: "must be 4KiB to 1TiB",
  },
  {
    what: "a shrinking retry delay",
    text: withStage("retry: { factor: 0.5 }"),
    at: [stagePath("retry.factor"), 6, 26],
    rule: "must be a number from 1 to 100",
  },
  {
    what: "retry ends that cross",
    text: withStage("retry: { min: 2m, max: 1m }"),
    at: [stagePath("retry.min"), 6, 23],
    rule: "must not be greater than retry.max (1m)",
  },
  {
    what: "exit code 0 as a failure",
    text: withStage("exitCodes: { failOn: [0] }"),
    at: [stagePath("exitCodes.failOn[0]"), 6, 31],
    rule: "must be a whole number from 1 to 255",
  },
  {
    what: "an exit code with two meanings",
    text: withStage("exitCodes: { retryOn: [75], failOn: [2, 75] }"),
    at: [stagePath("exitCodes.failOn[1]"), 6, 49],
    rule: "stands in retryOn already",
  },
  {
    what: "a ceiling below the stage's own limits",
    text: withStage("timeout: 1h", "maxRunning: 1h"),
    at: [stagePath("maxRunning"), 7, 21],
    rule: "must be greater than timeout + finalizeGrace + gate.patience (75m)",
  },
  {
    what: "a ceiling below the finalising of a stage without a timeout",
    text: withStage("maxRunning: 15m"),
    at: [stagePath("maxRunning"), 6, 21],
    rule: "must be greater than finalizeGrace + gate.patience (15m)",
  },
  {
    what: "output as a handler's heartbeat",
    text: withHandler("heartbeat: { from: output }"),
    at: [stagePath("heartbeat.from"), 6, 28],
    rule: "has no effect on a handler stage",
  },
  {
    what: "exit codes of a handler",
    text: withHandler("exitCodes: { failOn: [2] }"),
    at: [stagePath("exitCodes"), 6, 9],
    rule: "has no effect on a handler stage",
  },
  {
    what: "a gate that may take longer than its finaliser is given",
    text: withStage("gate: { file: a, timeout: 5m }"),
    at: [stagePath("gate.timeout"), 6, 35],
    rule: "must be less than finalizeGrace (5m)",
  },
  {
    what: "a grace that the default limit of a gate outlives",
    text: withStage("finalizeGrace: 30s", "gate: { file: a }"),
    at: [stagePath("gate.timeout"), 7, 9],
    rule: "must be less than finalizeGrace (30s)",
  },
  {
    what: "a gate without a kind",
    text: withStage("gate: { patience: 5s }"),
    at: [stagePath("gate"), 6, 15],
    rule: "must have exactly one of file, command, all, any, not",
  },
  {
    what: "a gate of two kinds",
    text: withStage("gate: { file: a, command: [b] }"),
    at: [stagePath("gate"), 6, 15],
    rule: "file and command are there",
  },
  {
    what: "a gate over HTTP",
    text: withStage("gate: { http: x }"),
    at: [stagePath("gate.http"), 6, 23],
    rule: "is not available yet: use a command gate",
  },
  {
    what: "a gate deep inside others",
    text: withStage("gate: { all: [{ file: a }, { not: { fil: b } }] }"),
    at: [stagePath("gate.all[1].not.fil"), 6, 45],
    rule: "is not a key",
    hint: "file",
  },
  {
    what: "a size without a file",
    text: withStage("gate: { command: [a], minBytes: 5 }"),
    at: [stagePath("gate.minBytes"), 6, 41],
    rule: "goes with a file gate only",
  },
  {
    what: "patience inside a gate's part",
    text: withStage("gate: { not: { file: a, patience: 5s } }"),
    at: [stagePath("gate.not.patience"), 6, 33],
    rule: "is not a key",
  },
  {
    what: "a gate's file outside the work directory",
    text: withStage("gate: { file: ../x }"),
    at: [stagePath("gate.file"), 6, 23],
    rule: "must stay inside the work directory",
  },
  {
    what: "a gate's file by an absolute path",
    text: withStage("gate: { file: /etc/passwd }"),
    at: [stagePath("gate.file"), 6, 23],
    rule: "must stay inside the work directory",
  },
  {
    what: "a variable that is ours",
    text: withStage("env: { WAKEFUL_TOKEN: x }"),
    at: [stagePath("env.WAKEFUL_TOKEN"), 6, 31],
    rule: "is given by Wakeful itself",
  },
  {
    what: "a variable with a number",
    text: withStage("env: { PORT: 80 }"),
    at: [stagePath("env.PORT"), 6, 22],
    rule: "put numbers and yes/no words in quotes",
  },
  {
    what: "a variable's name with =",
    text: withStage('env: { "A=B": x }'),
    at: [stagePath("env.A=B"), 6, 23],
    rule: "must be a variable's name",
  },
  {
    what: "a pipeline named like an option",
    text: "pipelines:\n  -p: { stages: { s: { run: { handler: h } } } }",
    at: ["pipelines.-p", 2, 3],
    rule: "must be a name of letters",
  },
  {
    what: "a stage named like a folder above",
    text: withStages('"..": { run: { handler: h } }'),
    at: ["pipelines.p.stages...", 4, 7],
    rule: "must be a name of letters",
  },
  {
    what: "a stage named like a hidden file",
    text: withStages(".s: { run: { handler: h } }"),
    at: ["pipelines.p.stages..s", 4, 7],
    rule: "must be a name of letters",
  },
  {
    what: "a stage named like an object's method",
    text: withStages("toString: { run: { handler: h } }"),
    at: ["pipelines.p.stages.toString", 4, 7],
    rule: "must be a name of letters",
  },
  {
    what: "stages that share their compatible names",
    text: withStages("a-b: { run: { handler: h }, next: A_b }", "A_b: { run: { handler: h } }"),
    at: ["pipelines.p.stages.A_b", 5, 7],
    rule: 'shares A_B_RUNNING and its heartbeat file with the stage "a-b"',
  },
  {
    what: "an unknown next",
    text: withStages("prep: { run: { handler: h }, next: orc }", "ocr: { run: { handler: h } }"),
    at: ["pipelines.p.stages.prep.next", 4, 42],
    rule: "names no stage of this pipeline (prep, ocr)",
    hint: "ocr",
  },
  {
    what: "an unknown first",
    text: `${withStage()}\n    first: t`,
    at: ["pipelines.p.first", 6, 12],
    rule: "names no stage of this pipeline (s)",
  },
  {
    what: "a next to an object's method",
    text: withStage("next: constructor"),
    at: [stagePath("next"), 6, 15],
    rule: "names no stage of this pipeline",
  },
  {
    what: "a stage that nobody reaches",
    text: withStages("a: { run: { handler: h } }", "b: { run: { handler: h } }"),
    at: ["pipelines.p.stages.b", 5, 7],
    rule: 'is reached by nobody: no way from "a" leads here',
  },
  {
    what: "a stage before the first",
    text: `${withStages("a: { run: { handler: h }, next: b }", "b: { run: { handler: h } }")}\n    first: b`,
    at: ["pipelines.p.stages.a", 4, 7],
    rule: "is reached by nobody",
  },
  {
    what: "a circle behind the first stage",
    text: withStages("a: { run: { handler: h }, next: b }", "b: { run: { handler: h }, next: c }", "c: { run: { handler: h }, next: b }"),
    at: ["pipelines.p.stages.c.next", 6, 39],
    rule: "leads in a circle (b -> c -> b): an item would never end",
  },
  {
    what: "an intake without a folder",
    text: `${withStage()}\n    intake: {}`,
    at: ["pipelines.p.intake.watch", 6, 5],
    rule: "is missing",
  },
  {
    what: "a glob over folders",
    text: `${withStage()}\n    intake: { watch: in, match: ["a/*"] }`,
    at: ["pipelines.p.intake.match[0]", 6, 34],
    rule: "folders are not searched",
  },
  {
    what: "a broken glob",
    text: `${withStage()}\n    intake: { watch: in, match: ["[a"] }`,
    at: ["pipelines.p.intake.match[0]", 6, 34],
    rule: "has a [ without its ]",
  },
  {
    what: "a signature that lost its quotes",
    text: `${withStage()}\n    intake: { watch: in, signature: 52617221 }`,
    at: ["pipelines.p.intake.signature", 6, 37],
    rule: "must be hexadecimal first bytes in quotes",
  },
  {
    what: "rejected files that come back",
    text: `${withStage()}\n    intake: { watch: ./in, errorDir: in/ }`,
    at: ["pipelines.p.intake.errorDir", 6, 38],
    rule: "must be another folder than the watched one",
  },
  {
    what: "an unknown way with duplicates",
    text: `${withStage()}\n    intake: { watch: in, duplicates: discrad }`,
    at: ["pipelines.p.intake.duplicates", 6, 38],
    rule: "must be one of hold",
    hint: "discard",
  },
];

test.each(cases)("$what is one mistake with its line and column", ({ text, at, rule, hint }) => {
  const [path, line, column] = at;
  expect(mistakesOf(text)).toEqual([{ path, line, column, rule: expect.stringContaining(rule), hint }]);
});
