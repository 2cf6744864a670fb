import { describe, expect, test } from "vitest";
import { errorCodes } from "../src/domain/error-codes.ts";
import { eventCatalogue } from "../src/telemetry/events.ts";
import { expectedTexts, madeBy, storeVerbs, verbsCalledOnEachEngine } from "./catalogue-coverage.ts";
import { isTestFile, readSources, type SourceFile } from "./source-tree.ts";

const fileOf = (text: string): SourceFile => ({ path: "a.test.ts", text });
const textsIn = (source: string): readonly string[] => expectedTexts(fileOf(source)).map(({ text }) => text);

describe("the tests of this repository", () => {
  const tests = readSources({ folders: ["src", "test"], endings: [".ts"] }).filter(({ path }) => isTestFile(path));

  test("call each verb of the store on each engine", () => {
    const verbs = storeVerbs(readSources({ folders: ["src/store/port"], endings: [".ts"] }));
    const called = new Set(
      tests.filter(({ path }) => path.startsWith("test/conformance/")).flatMap((file) => [...verbsCalledOnEachEngine(file)]),
    );
    expect(verbs.length).toBeGreaterThan(100);
    expect(verbs.filter((verb) => !called.has(verb))).toEqual([]);
  });

  test("see each event of the catalogue, told by the code that they test", () => {
    const seen = new Set(
      tests.flatMap((file) => {
        const own = madeBy(file);
        // Rows of the action log bear some of the same names.
        const others = expectedTexts(file).filter(({ text, member }) => !own.has(text) && member !== "action");
        return others.map(({ text }) => text.trim());
      }),
    );
    expect(Object.keys(eventCatalogue).filter((name) => !seen.has(name))).toEqual([]);
  });

  test("see each error code, as the code of an error", () => {
    const seen = new Set(
      tests.flatMap((file) => {
        const own = madeBy(file);
        const texts = expectedTexts(file).filter(({ text }) => !own.has(text));
        const looksAtCodes = /expect\([^;]*\.code\b/.test(file.text);
        return texts.filter(({ member, inTable }) => member === "code" || (inTable && looksAtCodes)).map(({ text }) => text);
      }),
    );
    expect(Object.keys(errorCodes).filter((code) => !seen.has(code))).toEqual([]);
  });
});

test("the verbs of the store are those of its own and of its rooms", () => {
  const port = [
    fileOf("export interface Store { readonly jobs: JobsStore; readonly url: string; ping(): Promise<void> }"),
    fileOf("export interface JobsStore { get(id: number): Promise<void>; list(): Promise<void> } interface Other { put(): void }"),
  ];
  expect(storeVerbs(port)).toEqual(["store.ping", "jobs.get", "jobs.list"]);
});

const calledIn = (body: string): readonly string[] => [
  ...verbsCalledOnEachEngine(fileOf(`describeStores((open) => { test("x", async () => { ${body} }); });`)),
];

test("a verb counts where the tests of each engine call it", () => {
  expect(calledIn("await (await direct.jobs.list()); store.ping(); const { put } = store.outbox;")).toEqual(["jobs.list", "store.ping"]);
  expect([...verbsCalledOnEachEngine(fileOf("store.jobs.get(1); store.ping(); describeStores((open) => {});"))]).toEqual([]);
});

test.each([
  ["what is opened again", "const again = await openAgain(); again.ping();"],
  ["what is opened again where the engine can", "const other = many ? await openAgain() : store; other.ping();"],
  ["another name of the fixture's", "const { store: owner } = await open(); owner.ping();"],
  ["the fixture's member", "const opened = await open(); opened.store.ping();"],
])("%s is a store", (_, body) => {
  expect(calledIn(body)).toContain("store.ping");
});

test.each([
  ["a clock", "const { clock } = await open(); clock.now();"],
  ["a daemon", "const daemon = await startDaemon(); daemon.close();"],
  ["what is made of a store", "const run = await claimOne(await openAgain()); run.ping();"],
])("%s is no store", (_, body) => {
  expect(calledIn(body)).toEqual([]);
});

test.each([
  ["a matcher's", 'expect(names).toEqual(["a.b"]);'],
  ["a member's", 'expect(events).toContainEqual(expect.objectContaining({ event: "a.b" }));'],
  ["a rejection's", 'await expect(call()).rejects.toMatchObject({ code: "a.b" });'],
  ["what is looked at", 'expect(world.eventsOf("a.b")).toHaveLength(1);'],
  ["a constant's", 'const told = world.eventsOf("a.b"); expect(told).toMatchObject([{}]);'],
  ["a condition's", 'await until(() => names.includes("a.b"), { what: "it" });'],
  ["a row's", 'test.each([["it", "a.b"]])("%s", (_, code) => { expect(x.code).toBe(code); });'],
])("%s text is expected", (_, source) => {
  expect(textsIn(source)).toContain("a.b");
});

test.each([
  ["a title", 'test("a.b", () => {});'],
  ["an expectation of nothing", 'expect(world.eventsOf("a.b")).toEqual([]); expect(find("a.b")).toBeUndefined();'],
  ["a negation", 'expect(names).not.toContain("a.b");'],
  ["what is left out", 'expect(names.filter((name) => name !== "a.b")).toHaveLength(2);'],
  ["a constant that nothing looks at", 'const told = world.eventsOf("a.b"); expect(other).toBe(1);'],
  ["a call of what is tested", 'run("a.b"); expect(other).toBe(1);'],
])("%s is no expectation of its text", (_, source) => {
  expect(textsIn(source)).not.toContain("a.b");
});

test("the member that holds a text is its key, or what the expectation looks at", () => {
  const membersIn = (source: string) => expectedTexts(fileOf(source)).map(({ member }) => member);
  expect(membersIn('expect(answer).toMatchObject({ error: { code: "conflict" } });')).toEqual(["code"]);
  expect(membersIn('expect(answer?.code).toBe("conflict");')).toEqual(["code"]);
  expect(membersIn('expect([answer.status, answer.json().error.code]).toEqual([409, "conflict"]);')).toEqual(["code"]);
  expect(membersIn('expect(answer.state).toBe("conflict");')).toEqual(["state"]);
});

test("events and errors that a test makes itself are told apart", () => {
  const source = 'bus.emit("a.b", {}); emit("c.d"); told("e.f"); new WakefulError("conflict", "x"); new Error("not_found");';
  expect([...madeBy(fileOf(source))]).toEqual(["a.b", "c.d", "conflict"]);
});
