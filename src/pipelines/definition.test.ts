import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalJson, stageChain } from "./definition.ts";
import { builtInDefaults } from "./reading/normalise.ts";
import { validatePipelines } from "./reading/validate.ts";

const stageName = fc.constantFrom("a", "b", "c", "d", "e");
const stages = fc.dictionary(
  stageName,
  fc.record({
    run: fc.constant({ handler: "h" }),
    next: fc.oneof({ weight: 2, arbitrary: fc.constant(null) }, { weight: 5, arbitrary: stageName }),
  }),
);
const pipeline = fc.record({ stages, first: stageName }, { requiredKeys: ["stages"] });

test("every stage of an accepted pipeline is visited once, and the chain ends", () => {
  fc.assert(
    fc.property(pipeline, (raw) => {
      const { definitions, findings } = validatePipelines({ p: raw }, { defaults: builtInDefaults });
      expect(definitions.length === 1).toBe(findings.length === 0);
      for (const definition of definitions) {
        const chain = stageChain(definition);
        expect(chain.map(({ name }) => name).sort()).toEqual(Object.keys(definition.stages).sort());
        expect(chain.at(-1)?.next).toBeNull();
      }
    }),
    { numRuns: 2000 },
  );
});

test("every chain of stages is accepted in any order of declaration", () => {
  fc.assert(
    fc.property(fc.shuffledSubarray(["a", "b", "c", "d", "e"], { minLength: 1 }), fc.infiniteStream(fc.nat()), (chain, order) => {
      const entries = chain.map((name, index) => [name, { run: { handler: "h" }, next: chain[index + 1] ?? null }] as const);
      const shuffled = entries.map((entry) => ({ entry, at: order.next().value ?? 0 })).sort((a, b) => a.at - b.at);
      const { definitions, findings } = validatePipelines(
        { p: { stages: Object.fromEntries(shuffled.map(({ entry }) => entry)) } },
        { defaults: builtInDefaults },
      );
      expect(findings).toEqual([]);
      expect(definitions.map((definition) => stageChain(definition).map(({ name }) => name))).toEqual([chain]);
    }),
  );
});

test("whatever stands under pipelines, validation returns and never throws", () => {
  fc.assert(
    fc.property(fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true }), (raw) => {
      expect(Array.isArray(validatePipelines(raw, { defaults: builtInDefaults }).findings)).toBe(true);
      expect(Array.isArray(validatePipelines({ p: { stages: { s: raw } } }, { defaults: builtInDefaults }).findings)).toBe(true);
      expect(
        Array.isArray(
          validatePipelines({ p: { intake: raw, stages: { s: { run: raw, gate: raw, env: raw } } } }, { defaults: builtInDefaults })
            .findings,
        ),
      ).toBe(true);
    }),
    { numRuns: 500 },
  );
});

test("the canonical text depends on values alone, not on the order of keys", () => {
  expect(canonicalJson({ b: [1, { d: null, c: "x" }], a: undefined })).toBe('{"b":[1,{"c":"x","d":null}]}');
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
      const reversed = Object.fromEntries(Object.entries(value).toReversed());
      expect(canonicalJson(reversed)).toBe(canonicalJson(value));
      expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
    }),
  );
});
