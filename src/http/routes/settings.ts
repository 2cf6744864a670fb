import type { FastifyInstance } from "fastify";
import { api } from "../../protocol/api/index.ts";
import { mount } from "../mount.ts";
import type { DaemonServices } from "../services.ts";

export function settingsRoutes(app: FastifyInstance, { settings }: DaemonServices): void {
  mount(app, api.getSettings, async () => ({ settings: settings.read() }));

  mount(app, api.changeSettings, async ({ body }, { actor, correlationId }) => {
    const { values, changes } = await settings.change(body, { actor, correlationId });
    return { settings: values, changes };
  });
}
