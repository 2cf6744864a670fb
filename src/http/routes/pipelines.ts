import type { FastifyInstance } from "fastify";
import { WakefulError } from "../../domain/errors.ts";
import { stageChain } from "../../pipelines/definition.ts";
import { api } from "../../protocol/api/index.ts";
import { mount } from "../mount.ts";
import type { DaemonServices } from "../services.ts";
import { definitionView } from "../views.ts";

export function pipelineRoutes(app: FastifyInstance, { store, registry }: DaemonServices): void {
  mount(app, api.listPipelines, async () => {
    const stored = await store.items.listPipelines();
    const loaded = registry.all().map(({ definition, version }) => ({
      name: definition.name,
      version,
      paused: stored.find(({ pipeline }) => pipeline === definition.name)?.paused ?? false,
      stages: stageChain(definition).map((stage) => stage.name),
      loaded: true,
    }));
    const gone = stored
      .filter(({ pipeline }) => registry.get(pipeline) === undefined)
      .map(({ pipeline, hash, paused }) => ({ name: pipeline, version: hash, paused, stages: [], loaded: false }));
    return { pipelines: [...loaded, ...gone] };
  });

  mount(app, api.getPipeline, async ({ params }) => {
    const pipeline = registry.get(params.name);
    if (pipeline === undefined)
      throw new WakefulError("not_found", `There is no pipeline "${params.name}" in the configuration.`, {
        details: { pipeline: params.name },
      });
    return { name: params.name, version: pipeline.version, definition: definitionView(pipeline.definition) };
  });
}
