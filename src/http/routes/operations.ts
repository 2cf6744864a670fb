import type { FastifyInstance } from "fastify";
import { api } from "../../protocol/api/index.ts";
import { doneAnswer, mount } from "../mount.ts";
import type { DaemonServices } from "../services.ts";

export function operationRoutes(app: FastifyInstance, { operations }: DaemonServices): void {
  mount(app, api.pause, async ({ body }, { actor }) => ({
    changed: await operations.setPaused({ target: body.target, paused: true, actor }),
  }));
  mount(app, api.resume, async ({ body }, { actor }) => ({
    changed: await operations.setPaused({ target: body.target, paused: false, actor }),
  }));
  mount(app, api.decideDuplicate, async ({ params, body }, { actor }) => {
    await operations.decideDuplicate({ id: params.id, decision: body.decision, actor });
    return doneAnswer;
  });
}
