import { expect, test } from "vitest";
import { compatibleStageNames } from "./stage-names.ts";

test.each(["NOM", "nom", "Nom"])("declaring a stage %s gives all its names [A-13]", (stage) => {
  expect(compatibleStageNames(stage)).toEqual({
    running: "NOM_RUNNING",
    retry: "NOM_RETRY",
    timeout: "NOM_TIMEOUT",
    done: "NOM_DONE",
    error: "ERROR_NOM",
    heartbeatFile: "nom.heartbeat",
    attemptsVariable: "MAX_ATTEMPTS_NOM",
    concurrencyVariable: "NOM_CONCURRENCY",
  });
});

test("a dash becomes an underscore where variables and states have none, and stays in the file's name", () => {
  expect(compatibleStageNames("deploy-staging")).toMatchObject({
    running: "DEPLOY_STAGING_RUNNING",
    heartbeatFile: "deploy-staging.heartbeat",
  });
});
