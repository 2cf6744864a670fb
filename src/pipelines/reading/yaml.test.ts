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

test("the design's example is read with every default filled in", () => {
  const { definitions, mistakes } = readPipelinesYaml(`
pipelines:
  comics:
    intake: { watch: ./in, match: ["*.cbz"] }
    stages:
      prep:
        run: { command: [node, steps/prep.js] }
        heartbeat: { timeout: 600s }
        attempts: 3
        concurrency: 2
        next: ocr
      ocr:
        run: { command: [node, steps/ocr.js] }
        heartbeat: {}
        timeout: 2h
        gate: { file: final.pdf, minBytes: 1024, startsWith: "%PDF-", patience: 0s }
`);
  expect(mistakes).toEqual([]);
  expect(definitions).toMatchObject([
    {
      name: "comics",
      first: "prep",
      intake: {
        watch: "./in",
        match: ["*.cbz"],
        profile: {},
        diskFreeFactor: 2,
        errorDir: "error",
        archiveDir: "archive",
        duplicates: "hold",
      },
      stages: {
        prep: {
          run: { kind: "command", argv: ["node", "steps/prep.js"] },
          heartbeat: { timeoutMs: 600_000, from: "file" },
          concurrency: 2,
          next: "ocr",
        },
        ocr: {
          heartbeat: { timeoutMs: 600_000 },
          timeoutMs: 7_200_000,
          gate: { kind: "file", path: "final.pdf", minBytes: 1024, startsWith: "%PDF-", anyAge: false },
          gatePatienceMs: 0,
          attempts: 3,
          next: null,
        },
      },
    },
  ]);
  // A limit that may change while runs go on is no part of a definition, nor of its hash.
  for (const stage of Object.values(definitions[0]?.stages ?? {})) {
    expect(stage.maxRunningMs).toBeUndefined();
    expect(stage.finalizeGraceMs).toBeUndefined();
  }
  expect(Object.isFrozen(definitions[0]?.stages["ocr"]?.gate)).toBe(true);
});

test("declaring a stage gives its compatible names, whatever it is called [A-13]", () => {
  const { definitions } = readPipelinesYaml(withStages("NOM: { run: { handler: nom } }"));
  expect(definitions[0]?.stages["NOM"]?.compatible).toMatchObject({
    running: "NOM_RUNNING",
    retry: "NOM_RETRY",
    timeout: "NOM_TIMEOUT",
    heartbeatFile: "nom.heartbeat",
  });
});

test("a text without pipelines has none", () => {
  expect(readPipelinesYaml("store: x\n")).toEqual({ definitions: [], mistakes: [] });
});

test("one stage whose next is itself is a circle, and leaves no first stage", () => {
  expect(mistakesOf(withStage("next: s"))).toMatchObject([
    { path: "pipelines.p.stages", line: 3, column: 5, rule: "has no first stage: every stage is some other's `next`" },
    { path: "pipelines.p.stages.s.next", line: 6, column: 15, rule: expect.stringContaining("leads in a circle (s -> s)") },
  ]);
});

test("stages that share a key share one limit", () => {
  const text = withStages(
    "a: { run: { handler: h }, concurrencyKey: gpu, concurrency: 2, next: b }",
    "b: { run: { handler: h }, concurrencyKey: gpu, concurrency: 3 }",
  );
  expect(mistakesOf(text)).toMatchObject([
    { path: "pipelines.p.stages.b.concurrency", line: 5, rule: 'must be the same as in p.a (2), which shares the key "gpu"' },
  ]);
});

test("all mistakes of all pipelines come at once, in the order of the file", () => {
  const lines = mistakesOf(`
pipelines:
  one:
    stages:
      a: { run: { command: [x] }, timeout: 5, attempts: no, next: z }
      a: {}
  two:
    intake: { match: [] }
    stages: { -b: { run: { handler: 7 } } }
`).map(({ path, line }) => [line, path]);
  expect(lines).toEqual([
    [5, "pipelines.one.stages.a.timeout"],
    [5, "pipelines.one.stages.a.attempts"],
    [5, "pipelines.one.stages.a.next"],
    [6, "pipelines.one.stages.a"],
    [8, "pipelines.two.intake.watch"],
    [8, "pipelines.two.intake.match"],
    [9, "pipelines.two.stages.-b"],
    [9, "pipelines.two.stages.-b.run.handler"],
  ]);
});

test("values of variables stand in no message", () => {
  const { mistakes } = readPipelinesYaml(withStage("env: { A: { fil: s3cret }, B: [s3cret], WAKEFUL_X: s3cret }"));
  expect(mistakes.length).toBeGreaterThan(0);
  expect(JSON.stringify(mistakes)).not.toContain("s3cret");
});

test("secrets are named by their file and kept out of the plain environment", () => {
  const { definitions } = readPipelinesYaml(withStage("env: { A: x, TOKEN: { file: /run/secrets/token } }"));
  expect(definitions[0]?.stages["s"]).toMatchObject({ env: { A: "x" }, envFiles: { TOKEN: "/run/secrets/token" } });
});
