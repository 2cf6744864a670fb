import type { FastifyInstance } from "fastify";
import { asItemId, asJobId, asRunId, asWorkerId } from "../../domain/ids.ts";
import { factsOfItem, factsOfJob, factsOfRun } from "../../operations/why/gather.ts";
import { tellStory } from "../../operations/why/story.ts";
import { api } from "../../protocol/api/index.ts";
import { defaultPageLimit } from "../../protocol/wire.ts";
import { mount } from "../mount.ts";
import type { DaemonServices } from "../services.ts";
import { actionView } from "../views.ts";

export function recordRoutes(app: FastifyInstance, services: DaemonServices): void {
  const { store } = services;

  mount(app, api.listActions, async ({ query }) => {
    const { job, run, item, worker, lease, before, after, limit = defaultPageLimit } = query;
    const actions = await store.actions.list({
      limit,
      jobId: job === undefined ? undefined : asJobId(job),
      runId: run === undefined ? undefined : asRunId(run),
      itemId: item === undefined ? undefined : asItemId(item),
      workerId: worker === undefined ? undefined : asWorkerId(worker),
      lease,
      before,
      after,
    });
    return { actions: actions.map(actionView) };
  });

  mount(app, api.listDuplicates, async ({ query }) => ({ duplicates: await store.duplicates.list(query.limit ?? defaultPageLimit) }));

  mount(app, api.why, async ({ query: { job, item, run, raw } }) => {
    const told = { raw: raw === true };
    if (job !== undefined) return tellStory(await factsOfJob(asJobId(job), services), told);
    if (item !== undefined) return tellStory(await factsOfItem(asItemId(item), services), told);
    // The schema lets exactly one of the three through.
    return tellStory(await factsOfRun(asRunId(run ?? 0), services), told);
  });
}
