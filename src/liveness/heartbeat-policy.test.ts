import { describe, expect, test } from "vitest";
import {
  applyStatePatch,
  checkInFlight,
  type HeartbeatReader,
  type HeartbeatReading,
  heartbeatLocation,
  type InFlightJob,
  isStale,
  stageOfRunning,
} from "./heartbeat-policy.ts";

const aged =
  (ageSeconds: number): HeartbeatReader =>
  () => ({ kind: "present", ageSeconds });
const absent =
  (sinceStartSeconds: number | undefined): HeartbeatReader =>
  () => ({ kind: "absent", sinceStartSeconds });
const prep = "work/k1/prep.heartbeat";

describe("the predicate", () => {
  test("it takes a location, a timeout and an optional absent-timeout in seconds, and asks the reader for that location [A-3, A-21]", () => {
    const asked: string[] = [];
    const reader: HeartbeatReader = (location) => {
      asked.push(location);
      return { kind: "present", ageSeconds: 61 };
    };
    expect(isStale({ location: prep, timeoutSeconds: 60, absentTimeoutSeconds: 1 }, reader)).toBe(true);
    expect(asked).toEqual([prep]);
  });

  test("700 s old at a timeout of 600 s is stale, 0 s is not, exactly equal is not [A-4]", () => {
    const verdicts = [700, 0, 600, 600.001].map((age) => isStale({ location: prep, timeoutSeconds: 600 }, aged(age)));
    expect(verdicts).toEqual([true, false, false, true]);
  });

  test("absent: not stale at once, stale once twice the timeout has passed since the start [A-5]", () => {
    const verdicts = [0, 600, 1199.9, 1200].map((since) => isStale({ location: prep, timeoutSeconds: 600 }, absent(since)));
    expect(verdicts).toEqual([false, false, false, true]);
  });

  test("an absent-timeout of 0 makes an absent heartbeat stale immediately, also when the start is unknown [A-6]", () => {
    const query = { location: prep, timeoutSeconds: 60, absentTimeoutSeconds: 0 };
    expect([absent(0), absent(undefined), aged(1)].map((reader) => isStale(query, reader))).toEqual([true, true, false]);
    expect(isStale({ location: prep, timeoutSeconds: 60, absentTimeoutSeconds: 5 }, absent(undefined))).toBe(false);
  });

  test("a heartbeat that cannot be examined proves nothing", () => {
    expect(isStale({ location: prep, timeoutSeconds: 1, absentTimeoutSeconds: 0 }, () => ({ kind: "unreadable" }))).toBe(false);
  });
});

describe("the check of what is in flight", () => {
  const check = (jobs: Record<string, InFlightJob>, readings: Record<string, HeartbeatReading>) => {
    const inFlight = new Map(Object.entries(jobs));
    const reader: HeartbeatReader = (location) => readings[location] ?? { kind: "absent", sinceStartSeconds: 0 };
    return { inFlight, patches: checkInFlight(inFlight, 600, { workLocation: "work", reader }) };
  };
  const old: HeartbeatReading = { kind: "present", ageSeconds: 700 };
  const fresh: HeartbeatReading = { kind: "present", ageSeconds: 0 };

  test("PREP_RUNNING is judged by prep.heartbeat [A-10]", () => {
    const { inFlight } = check({ k1: { stage: "PREP_RUNNING" } }, { "work/k1/prep.heartbeat": old, "work/k1/ocr.heartbeat": fresh });
    expect(inFlight.get("k1")?.stage).toBe("PREP_RETRY");
  });

  test("OCR_RUNNING is judged by ocr.heartbeat [A-11]", () => {
    const { inFlight } = check({ k1: { stage: "OCR_RUNNING" } }, { "work/k1/prep.heartbeat": old, "work/k1/ocr.heartbeat": fresh });
    expect(inFlight.get("k1")?.stage).toBe("OCR_RUNNING");
  });

  test("every state that ends in _RUNNING has a stage, declared or not; others have none [A-12, A-19]", () => {
    const states = ["PREP_RUNNING", "X_RUNNING", "DEPLOY_STAGING_RUNNING", "_RUNNING", "RUNNING", "PREP_DONE", "PREP_RUNNING_NOT"];
    const stages = states.map((state) => stageOfRunning(state, ["deploy-staging"])?.stage);
    expect(stages).toEqual(["prep", "x", "deploy-staging", undefined, undefined, undefined, undefined]);
  });

  test("a new stage NOM has NOM_RUNNING, nom.heartbeat, NOM_TIMEOUT and NOM_RETRY from its name alone [A-13]", () => {
    const running = stageOfRunning("NOM_RUNNING");
    expect(running?.names).toMatchObject({
      running: "NOM_RUNNING",
      timeout: "NOM_TIMEOUT",
      retry: "NOM_RETRY",
      heartbeatFile: "nom.heartbeat",
    });
    expect(running && heartbeatLocation({ workLocation: "/w", jobKey: "k", names: running.names })).toBe("/w/k/nom.heartbeat");
  });

  for (const stage of ["PREP", "OCR", "NOM", "ANY_OTHER"]) {
    const file = `work/k1/${stage.toLowerCase()}.heartbeat`;

    test(`${stage}: 700 s old at timeout 600 -> RETRY, with the timeout in state and message [A-14, A-15, A-16, A-25]`, () => {
      const { inFlight, patches } = check({ k1: { stage: `${stage}_RUNNING`, attemptPrep: 0, attemptOcr: 0 } }, { [file]: old });
      expect(inFlight.get("k1")).toEqual({ stage: `${stage}_RETRY`, attemptPrep: 0, attemptOcr: 0 });
      expect(patches).toEqual([{ jobKey: "k1", state: `${stage}_TIMEOUT`, message: expect.stringMatching(/heartbeat.*stale.*600 s/) }]);
    });

    test(`${stage}: touched now at timeout 600 -> still RUNNING, and nothing to write [A-18, A-26]`, () => {
      const { inFlight, patches } = check({ k1: { stage: `${stage}_RUNNING` } }, { [file]: fresh });
      expect(inFlight.get("k1")?.stage).toBe(`${stage}_RUNNING`);
      expect(patches).toEqual([]);
    });
  }

  test("jobs in any other stage are never changed, whatever their heartbeats say [A-19]", () => {
    const others = ["DISCOVERED", "PREP_DONE", "PREP_RETRY", "OCR_RETRY", "DONE", "ERROR_PREP"];
    const { inFlight, patches } = check(Object.fromEntries(others.map((stage) => [stage, { stage }])), {});
    expect([...inFlight.values()].map((job) => job.stage)).toEqual(others);
    expect(patches).toEqual([]);
  });

  test("it needs only key, stage and counters, and a second check finds nothing more to do [A-20, A-G2]", () => {
    const { inFlight } = check({ k1: { stage: "PREP_RUNNING", attemptPrep: 0, attemptOcr: 0 } }, { "work/k1/prep.heartbeat": old });
    expect(checkInFlight(inFlight, 600, { workLocation: "work", reader: aged(700) })).toEqual([]);
  });

  test("the patch keeps every other stored field, and a stored state with nothing but the job key will do [A-17]", () => {
    const patch = { jobKey: "k1", state: "OCR_TIMEOUT", message: "m" };
    expect(applyStatePatch({ jobKey: "k1" }, patch)).toEqual({ jobKey: "k1", state: "OCR_TIMEOUT", message: "m" });
    const stored = { jobKey: "k1", state: "OCR_RUNNING", attempt: 2, input: { name: "a.cbz" } };
    expect(applyStatePatch(stored, patch)).toEqual({ ...stored, state: "OCR_TIMEOUT", message: "m" });
  });

  test("adding stages never changes the predicate: it knows no stage at all [A-24]", () => {
    const names = ["prep.heartbeat", "ocr.heartbeat", "nom.heartbeat", "anything"];
    const verdicts = names.map((location) => [600, 601].map((age) => isStale({ location, timeoutSeconds: 600 }, aged(age))));
    expect(verdicts).toEqual(names.map(() => [false, true]));
  });
});
