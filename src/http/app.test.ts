import { expect, test } from "vitest";
import { apiDaemon } from "../../test/support/api-daemon.ts";
import { api } from "../protocol/api/index.ts";

test("the OpenAPI document holds every endpoint", async () => {
  const { request } = await apiDaemon();
  const { body } = await request("GET", "/v1/openapi.json");
  expect(body.openapi).toBe("3.1.0");
  for (const { method, path } of Object.values(api)) {
    expect(body.paths[path.replace(/:(\w+)/g, "{$1}")]?.[method.toLowerCase()], `${method} ${path}`).toBeDefined();
  }
  expect(body.paths["/v1/jobs/{id}"].get.responses["200"].content["application/json"].schema.properties.job).toBeDefined();
});
