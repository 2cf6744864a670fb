import { expect, test } from "vitest";
import { asHostId, asJobId, asRunId } from "../../domain/ids.ts";
import { cleanEnvironment, ownMarker, parseMarker } from "../run-folder/run-marker.ts";
import { commandEnvironment } from "./environment.ts";

const run = { runId: asRunId(3), jobId: asJobId(2), attempt: 1, runDir: "/runs/3", workDir: "/work/a" };
const base = {
  workerEnv: { PATH: "/bin", HOME: "/home", LANG: "C", TZ: "UTC", TMPDIR: "/tmp", DATABASE_URL: "secret", LD_PRELOAD: "x" },
  stageEnv: {},
  hostId: asHostId("host"),
  run,
};

test("a command gets the allowed variables, its stage's and its run's, and nothing else of the worker", () => {
  const env = commandEnvironment({
    ...base,
    stageEnv: { MODEL: "large", TZ: "CET" },
    run: { ...run, itemKey: "a", stage: "ocr" },
    url: "http://127.0.0.1:7070",
    token: "t",
    traceparent: "00-1-2-01",
  });
  expect(env).toEqual({
    PATH: "/bin",
    HOME: "/home",
    LANG: "C",
    TZ: "CET",
    TMPDIR: "/tmp",
    MODEL: "large",
    WAKEFUL_JOB_ID: "2",
    WAKEFUL_RUN_ID: "3",
    WAKEFUL_ITEM_KEY: "a",
    WAKEFUL_STAGE: "ocr",
    WAKEFUL_ATTEMPT: "1",
    WAKEFUL_WORK_DIR: "/work/a",
    WAKEFUL_HEARTBEAT_FILE: "/runs/3/heartbeat",
    WAKEFUL_PROGRESS_FILE: "/runs/3/progress",
    WAKEFUL_INPUT_FILE: "/runs/3/input.json",
    WAKEFUL_OUTPUT_FILE: "/runs/3/output.json",
    WAKEFUL_URL: "http://127.0.0.1:7070",
    WAKEFUL_TOKEN: "t",
    TRACEPARENT: "00-1-2-01",
    WAKEFUL_RUN_MARKER: "3:host",
  });
});

test("what is absent is absent, and PATH has a default", () => {
  const env = commandEnvironment({ ...base, workerEnv: {} });
  expect(Object.keys(env).sort()).not.toContain("WAKEFUL_ITEM_KEY");
  expect(env.PATH).toBe("/usr/local/bin:/usr/bin:/bin");
});

test("a stage may not name the run, nor use a name that a shell would drop", () => {
  for (const stageEnv of [
    { WAKEFUL_RUN_ID: "9" },
    { WAKEFUL_RUN_MARKER: "9:x" },
    { _wkf_dir: "/" },
    { "a-b": "1" },
    { "": "1" },
    { A: "x\0y" },
  ]) {
    expect(() => commandEnvironment({ ...base, stageEnv })).toThrow(expect.objectContaining({ code: "bad_request" }));
  }
});

test("a daemon started inside a run recognises it, and cleans its environment of everything of that run", () => {
  const env = commandEnvironment({ ...base, stageEnv: { MODEL: "large" }, run: { ...run, itemKey: "a" }, token: "t" });
  expect(ownMarker(env)).toEqual({ runId: 3, hostId: "host" });
  const clean = cleanEnvironment({ ...env, NOTHING: undefined });
  expect(clean).toEqual({ PATH: "/bin", HOME: "/home", LANG: "C", TZ: "UTC", TMPDIR: "/tmp", MODEL: "large" });
  expect(ownMarker(clean)).toBeUndefined();
});

test("a damaged marker is none", () => {
  for (const text of [undefined, "", "3", "3:", ":x", "x:y", "0:y", "3:a b"]) expect(parseMarker(text)).toBeUndefined();
});
