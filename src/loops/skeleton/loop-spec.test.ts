import { describe, expect, test } from "vitest";
import { type LoopName, loopNames } from "../../config/loop-names.ts";
import { asInstant } from "../../domain/time.ts";
import { type Loop, nothingSeen } from "./loop.ts";
import { buildLoops } from "./loop-set.ts";
import { everyLoop, type LoopSpec, ownSwitch } from "./loop-spec.ts";
import { LoopWaker } from "./loop-waker.ts";

interface Parts {
  readonly greeting: string;
  readonly settings: () => { readonly everyMs: number; readonly loops: Readonly<Record<LoopName, { readonly enabled: boolean }>> };
}

interface Greeter<Name extends LoopName> extends Loop<Name> {
  readonly says: string;
}

function specOf<Name extends LoopName>(name: Name): LoopSpec<Name, Parts, Greeter<Name>> {
  return {
    name,
    kind: "guarded",
    intervalMs: ({ everyMs }) => everyMs,
    enabled: ownSwitch(name),
    wokenBy: [],
    build: ({ greeting }) => ({
      name,
      says: `${greeting}, ${name}`,
      details: () => ({}) as ReturnType<Loop<Name>["details"]>,
      tick: async () => nothingSeen,
    }),
  };
}

const runnerDeps = {
  now: () => asInstant(0),
  monoNow: () => 0,
  random: () => 0.5,
  emit: () => undefined,
  alert: async () => true,
  waker: new LoopWaker(),
};

const switches = (on: boolean) =>
  Object.fromEntries(loopNames.map((name) => [name, { enabled: on }])) as ReturnType<Parts["settings"]>["loops"];

test("loops are built of the parts that are given, found by their name, and switched by their settings at each look", () => {
  let on = true;
  const parts: Parts = { greeting: "good morning", settings: () => ({ everyMs: 70, loops: switches(on) }) };
  const { set, loops } = buildLoops([specOf("outbox"), specOf("stopper")], parts, runnerDeps);
  expect(loops.stopper.says).toBe("good morning, stopper");
  expect(set.snapshots()).toMatchObject([
    { name: "outbox", intervalMs: 70, enabled: true },
    { name: "stopper", intervalMs: 70, enabled: true },
  ]);
  on = false;
  expect(set.snapshots()).toMatchObject([{ enabled: false }, { enabled: false }]);
});

describe("the list of loops and the list of their names are equal, or the code does not compile", () => {
  const allButRetention = [
    specOf("job-reaper"),
    specOf("stopper"),
    specOf("worker-reaper"),
    specOf("reconciler"),
    specOf("intake"),
    specOf("outbox"),
    specOf("scheduler"),
  ] as const;

  test("all names are a list", () => {
    expect(everyLoop([...allButRetention, specOf("retention")]).map(({ name }) => name)).toEqual(loopNames);
  });

  test("a name without a spec is none", () => {
    // @ts-expect-error retention is missing
    expect(everyLoop(allButRetention)).not.toContain("retention");
  });

  test("there is no spec without a name", () => {
    // @ts-expect-error no loop has this name
    expect(specOf("provisioner").name).toBe("provisioner");
  });

  test("a loop reports what its name says, as others read it", () => {
    const { build } = specOf("stopper");
    // @ts-expect-error the stopper also says how many it is stopping, and what remains
    const mute: typeof build = (parts) => ({ ...build(parts), details: () => ({ stoppedTotal: 1 }) });
    const parts: Parts = { greeting: "hi", settings: () => ({ everyMs: 1, loops: switches(true) }) };
    expect(mute(parts).details()).toEqual({ stoppedTotal: 1 });
  });

  test("nor a loop under the name of another, nor one whose parts are not there", () => {
    const stopper = specOf("stopper");
    // @ts-expect-error the loop says another name than its spec
    const misnamed: LoopSpec<"outbox", Parts> = { ...specOf("outbox"), build: stopper.build };
    expect(misnamed.build({ greeting: "hi", settings: () => ({ everyMs: 1, loops: switches(true) }) }).name).toBe("stopper");
    // @ts-expect-error nobody greets
    expect(() => buildLoops([stopper], { settings: () => ({ everyMs: 1, loops: switches(true) }) }, runnerDeps)).not.toThrow();
  });
});
