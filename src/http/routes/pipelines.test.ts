import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";

test("a pipeline is shown without the values of its environment", async () => {
  const { request } = await apiDaemon();
  const answer = await request("GET", "/v1/pipelines/comics");
  expect(answer.body.definition.stages.ocr.env).toEqual({ API_KEY: "***" });
  expect(answer.text).not.toContain("hunter2");
});
