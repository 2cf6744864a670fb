import { expect, test } from "vitest";
import { ConfigError } from "../../config/mistake.ts";
import { versionOf } from "../definition.ts";
import type { StageHandler } from "../handler.ts";
import type { PipelineInput } from "./input.ts";
import { command, definePipeline, handler, isDefinedPipeline } from "./typescript.ts";
import { readPipelinesYaml } from "./yaml.ts";

const recognise: StageHandler = async () => ({ pages: 1 });

const full = () =>
  definePipeline("comics", {
    intake: {
      watch: "./in",
      match: ["*.{cbz,cbr}"],
      profile: { ocr: { lang: "eng" } },
      maxBytes: "500MB",
      minStable: "1.5s",
      signature: "504B0304",
      duplicates: "discard",
    },
    stages: {
      prep: {
        run: command(["node", "steps/prep.js"]),
        heartbeat: { timeout: "600s", from: "output" },
        attempts: 2,
        maxLosses: 3,
        onExhausted: "hold",
        retry: { min: "2s", max: "1h", factor: 3 },
        exitCodes: { retryOn: [75], failOn: [2], holdOn: [3] },
        concurrency: 2,
        env: { LANG: "C", TOKEN: { file: "/run/secrets/token" } },
        next: "ocr",
      },
      ocr: {
        run: handler(recognise),
        timeout: "2h",
        gate: {
          all: [{ file: "final.pdf", minBytes: 1024, startsWith: "%PDF-" }, { not: { command: ["pdf-is-empty"] } }],
          patience: "5m",
          timeout: "10s",
        },
        labels: { agent: "ocr" },
        next: null,
      },
    },
  });

const sameInYaml = `
pipelines:
  comics:
    stages:
      ocr:
        labels: { agent: ocr }
        gate:
          timeout: 10s
          patience: 5m
          all:
            - { file: final.pdf, startsWith: "%PDF-", minBytes: 1024B }
            - not: { command: [pdf-is-empty] }
        timeout: 120m
        run: { handler: comics.ocr }
      prep:
        run: { command: [node, steps/prep.js] }
        heartbeat: { timeout: 10m, from: output }
        attempts: 2
        maxLosses: 3
        onExhausted: hold
        retry: { min: 2000ms, max: 60m, factor: 3 }
        exitCodes: { retryOn: [75], failOn: [2], holdOn: [3] }
        concurrency: 2
        env: { TOKEN: { file: /run/secrets/token }, LANG: C }
        next: ocr
    intake:
      watch: ./in
      match: ["*.{cbz,cbr}"]
      profile: { ocr: { lang: eng } }
      maxBytes: 500000000
      minStable: 1500ms
      signature: ["504b0304"]
      duplicates: discard
`;

test("YAML and TypeScript give equal definitions with equal hashes", () => {
  const { definitions, mistakes } = readPipelinesYaml(sameInYaml);
  expect(mistakes).toEqual([]);
  const [fromYaml] = definitions;
  const fromCode = full().definition;
  expect(fromYaml).toEqual(fromCode);
  expect(fromYaml && versionOf(fromYaml)).toBe(versionOf(fromCode));
  expect(versionOf(fromCode)).toMatch(/^[0-9a-f]{64}$/);
});

test("a definition survives JSON unchanged", () => {
  const { definition } = full();
  const copy = JSON.parse(JSON.stringify(definition)) as typeof definition;
  expect(copy).toEqual(definition);
  expect(versionOf(copy)).toBe(versionOf(definition));
});

test("a changed value is another version", () => {
  const one = definePipeline("p", { stages: { s: { run: command(["x"]), attempts: 3 } } });
  const same = definePipeline("p", { stages: { s: { run: command(["x"]) } } });
  const other = definePipeline("p", { stages: { s: { run: command(["x"]), attempts: 4 } } });
  expect(versionOf(same.definition)).toBe(versionOf(one.definition));
  expect(versionOf(other.definition)).not.toBe(versionOf(one.definition));
});

test("functions are kept aside under the name that the definition gives them", () => {
  const { handlers, definition, input } = full();
  expect([...handlers]).toEqual([["comics.ocr", recognise]]);
  expect(definition.stages["ocr"]?.run).toEqual({ kind: "handler", name: "comics.ocr" });
  expect(JSON.stringify(input)).toContain('"handler":"comics.ocr"');
  expect(isDefinedPipeline(full())).toBe(true);
});

test("a handler may be named, with or without its function", () => {
  const defined = definePipeline("p", {
    stages: { a: { run: handler("elsewhere"), next: "b" }, b: { run: handler(recognise, { name: "recognise" }) } },
  });
  expect(defined.definition.stages["a"]?.run).toEqual({ kind: "handler", name: "elsewhere" });
  expect([...defined.handlers.keys()]).toEqual(["recognise"]);
});

test("two functions under one name are refused", () => {
  const twice = () =>
    definePipeline("p", {
      stages: { a: { run: handler(recognise, { name: "x" }), next: "b" }, b: { run: handler(async () => null, { name: "x" }) } },
    });
  expect(twice).toThrow(/pipelines\.p\.stages\.b\.run\.handler: "x" names two different functions/);
});

test("an unknown next or first, a bare number as a duration and an unknown key are type errors, and refused at the definition", () => {
  // @ts-expect-error `orc` names no stage.
  expect(() => definePipeline("p", { stages: { prep: { run: command(["x"]), next: "orc" }, ocr: { run: command(["x"]) } } })).toThrow(
    /did you mean "ocr"\?/,
  );
  // @ts-expect-error `t` names no stage.
  expect(() => definePipeline("p", { first: "t", stages: { s: { run: command(["x"]) } } })).toThrow(/names no stage/);
  // @ts-expect-error A duration needs a unit.
  expect(() => definePipeline("p", { stages: { s: { run: command(["x"]), timeout: 600 } } })).toThrow(/needs a unit: write 600s/);
  // @ts-expect-error `timout` is no key.
  expect(() => definePipeline("p", { stages: { s: { run: command(["x"]), timout: "5s" } } })).toThrow(/did you mean "timeout"\?/);
});

test("a circle is refused at the definition", () => {
  expect(() => definePipeline("p", { stages: { a: { run: command(["x"]), next: "b" }, b: { run: command(["x"]), next: "a" } } })).toThrow(
    /leads in a circle/,
  );
});

const hostile: readonly (readonly [string, unknown])[] = [
  [
    "a profile that holds itself",
    (() => {
      const profile: Record<string, unknown> = {};
      profile["self"] = profile;
      return { intake: { watch: "in", profile }, stages: {} };
    })(),
  ],
  ["a function in a profile", { intake: { watch: "in", profile: { f: () => 1 } }, stages: { s: { run: { handler: "h" } } } }],
  ["a date in a profile", { intake: { watch: "in", profile: new Date(0) }, stages: { s: { run: { handler: "h" } } } }],
  ["not a number", { stages: { s: { run: { handler: "h" }, priority: Number.NaN } } }],
  ["a key of its own that is __proto__", JSON.parse('{ "stages": { "__proto__": { "run": { "handler": "h" } } } }')],
  ["no object", 5],
  ["nothing", null],
  ["stages as a list", { stages: [] }],
  ["a stage that is nothing", { stages: { s: null } }],
  ["a way to run that is nothing", { stages: { s: { run: null } } }],
];

test.each(hostile)("%s is refused with a typed error", (_, input) => {
  expect(() => definePipeline("p", input as PipelineInput)).toThrow(ConfigError);
});
