import { z } from "zod";
import { endpoint } from "../endpoint.ts";
import { anyJson, nameParams } from "../wire.ts";

const pipelineWire = z.object({
  name: z.string(),
  version: z.string(),
  paused: z.boolean(),
  stages: z.array(z.string()),
  loaded: z.boolean(),
});

const listPipelines = endpoint({
  method: "GET",
  path: "/v1/pipelines",
  tag: "pipelines",
  summary: "Pipelines, their current version and stages in order. `loaded: false`: known to the store, gone from the configuration.",
  access: "admin",
  answer: z.object({ pipelines: z.array(pipelineWire) }),
});

const getPipeline = endpoint({
  method: "GET",
  path: "/v1/pipelines/:name",
  tag: "pipelines",
  summary: "A pipeline's current definition. Values of `env` are left out.",
  access: "admin",
  params: nameParams,
  answer: z.object({ name: z.string(), version: z.string(), definition: anyJson }),
});

export const pipelinesApi = { listPipelines, getPipeline };
