import { expect, test } from "vitest";
import { documentedSettings, settingsSeen } from "./setting-coverage.ts";
import { isTestFile, readSources } from "./source-tree.ts";

/** Settings that have no effect to see, and why. */
const withoutEffect: Readonly<Record<string, string>> = {
  "worker.selfFenceAfterMs": "only measured against others until there are workers on other hosts",
  "stage.fence": "only kept until there are workers on other hosts",
  "pipeline.first": "says what the chain says already, and is refused where it does not",
};

test("each documented setting is given by a configuration in a test that is named after it and sees its effect", () => {
  const documented = documentedSettings();
  // What reads settings is tested beside it, and shows no effect of any.
  const tests = readSources({ folders: ["src", "test"], endings: [".ts"] }).filter(
    ({ path }) => isTestFile(path) && !/^src\/(config|pipelines\/reading)\//.test(path),
  );
  const seen = new Set(tests.flatMap((file) => [...settingsSeen(file, documented)]));
  expect(documented.length).toBeGreaterThan(80);
  expect(documented.filter((name) => !seen.has(name)).toSorted()).toEqual(Object.keys(withoutEffect).toSorted());
});

const seenIn = (body: string, title = "reaper.deadTicks and stage.attempts count"): readonly string[] => [
  ...settingsSeen({ path: "a.test.ts", text: `const text = "reaper: { deadTicks: 4 }";\n${body.replace("TITLE", title)}` }, [
    "reaper.deadTicks",
    "stage.attempts",
  ]),
];
const testOf = (yaml: string): string => `test("TITLE", async () => { await startTestDaemon({ yaml: ${yaml} }); expect(it).toBe(1); });`;

test.each([
  ["a text", testOf('"reaper: { deadTicks: 4 }"'), "reaper.deadTicks"],
  ["a constant of the file", testOf("text"), "reaper.deadTicks"],
  ["a template", testOf("`reaper: { deadTicks: ${ticks} }`"), "reaper.deadTicks"],
  [
    "a flag",
    'test("TITLE", async () => { await startTestDaemon({ flags: { "reaper.deadTicks": 4 } }); expect(it).toBe(1); });',
    "reaper.deadTicks",
  ],
  ["a stage", testOf('"pipelines: { p: { stages: { s: { run: { command: [a] }, attempts: 2 } } } }"'), "stage.attempts"],
  [
    "what a function of the file makes",
    `const stage = (keys) => \`pipelines: { p: { stages: { s: { run: { command: [a] }, \${keys} } } } }\`; ${testOf('stage("attempts: 2")')}`,
    "stage.attempts",
  ],
  [
    "a helper that starts the daemon and waits",
    'const started = async (yaml) => { await startTestDaemon({ yaml }); await until(() => true); }; test("TITLE", () => started("reaper: { deadTicks: 4 }"));',
    "reaper.deadTicks",
  ],
])("%s gives a setting", (_what, body, setting) => {
  expect(seenIn(body)).toEqual([setting]);
});

test.each([
  ["the default", testOf('"reaper: { deadTicks: 2 }"')],
  ["the default of a stage", testOf('"pipelines: { p: { stages: { s: { run: { command: [a] }, attempts: 3 } } } }"')],
  ["a value that is refused", testOf('"reaper: { deadTicks: 0 }"')],
  ["a stage that is refused", testOf('"pipelines: { p: { stages: { s: { attempts: 2 } } } }"')],
  ["a mention", testOf('"other: reaper.deadTicks"')],
  ["an argument of a constructor", 'test("TITLE", () => { loadConfiguration(); new Reaper({ deadTicks: 4 }); expect(it).toBe(1); });'],
  ["a template with a hole as key", testOf("`${setting}: 4`")],
  ["a text that nothing loads", 'test("TITLE", () => { parse("reaper: { deadTicks: 4 }"); expect(it).toBe(1); });'],
  ["a test that expects nothing", 'test("TITLE", async () => { await startTestDaemon({ yaml: "reaper: { deadTicks: 4 }" }); });'],
])("%s gives none", (_what, body) => {
  expect(seenIn(body)).toEqual([]);
});

test("a setting that stands in a test of something else is not seen by it; a wildcard in the title names what is given", () => {
  const yaml = testOf('"reaper: { deadTicks: 4 }"');
  expect(seenIn(yaml, "commands are adopted")).toEqual([]);
  expect(seenIn(yaml, "reaper.deadTicksOf something")).toEqual([]);
  expect(seenIn(yaml, "reaper.* say how")).toEqual(["reaper.deadTicks"]);
  expect(seenIn(yaml.replace("test(", 'test.each([["reaper.deadTicks"]])('), "%s says how")).toEqual(["reaper.deadTicks"]);
});

test("a wildcard alone names nothing: of a table the rows say which setting is meant", () => {
  const yaml = testOf('"reaper: { deadTicks: 4 }"');
  expect(seenIn(yaml.replace("test(", 'test.each([["stage.attempts"]])('), "%s says how")).toEqual([]);
  expect(seenIn(yaml.replace("test(", 'test.each([["reaper", "deadTicks"]])('), "%s.%s says how")).toEqual([]);
  for (const title of ["* says how", "*.* says how", "% of it"]) expect(seenIn(yaml, title)).toEqual([]);
});
