import type { FastifyInstance } from "fastify";
import { WakefulError } from "../../domain/errors.ts";
import { asItemId } from "../../domain/ids.ts";
import { api } from "../../protocol/api/index.ts";
import { defaultPageLimit } from "../../protocol/wire.ts";
import { doneAnswer, mount } from "../mount.ts";
import type { DaemonServices } from "../services.ts";
import { itemView, jobView, runView, visitView } from "../views.ts";

export function itemRoutes(app: FastifyInstance, { store, operations }: DaemonServices): void {
  mount(app, api.listItems, async ({ query }) => {
    const { pipeline, key, state, before, limit = defaultPageLimit } = query;
    if (key !== undefined) {
      if (pipeline === undefined) throw new WakefulError("bad_request", "A key is unique in its pipeline only: name the pipeline as well.");
      const item = await store.items.byKey(pipeline, key);
      return { items: item === undefined ? [] : [itemView(item)] };
    }
    const items = await store.items.list({
      limit,
      pipeline,
      states: state,
      before: before === undefined ? undefined : asItemId(before),
    });
    return { items: items.map(itemView) };
  });

  mount(app, api.getItem, async ({ params }) => {
    const id = asItemId(params.id);
    const item = await store.items.get(id);
    if (item === undefined) throw new WakefulError("not_found", `There is no item ${id}.`, { details: { itemId: id } });
    const [visits, jobs] = await Promise.all([store.items.visits(id), store.items.jobs(id)]);
    const runs = await Promise.all(jobs.map((job) => store.runs.ofJob(job.id)));
    return { item: itemView(item), visits: visits.map(visitView), jobs: jobs.map(jobView), runs: runs.flat().map(runView) };
  });

  mount(app, api.submitItem, async ({ params, body }, { actor }) => {
    const { input, key, label, repo, branch } = body;
    const { item, created } = await operations.submit({
      pipeline: params.name,
      actor,
      key,
      input: input === undefined ? undefined : JSON.stringify(input),
      label,
      repo,
      branch,
    });
    return { item: itemView(item), created };
  });

  mount(app, api.retryItem, async ({ params }, { actor }) => ({ jobId: await operations.retryItem({ id: asItemId(params.id), actor }) }));

  mount(app, api.rerunItem, async ({ params, body }, { actor }) => ({
    jobId: await operations.rerunItem({ id: asItemId(params.id), actor, from: body?.from }),
  }));

  mount(
    app,
    api.moveItem,
    async ({ params, body }, { actor }) => await operations.moveItem({ id: asItemId(params.id), host: body.host, actor }),
  );

  mount(app, api.cancelItem, async ({ params, body }, { actor }) => {
    await operations.cancelItem({ id: asItemId(params.id), reason: body?.reason ?? "cancelled by a person", actor });
    return doneAnswer;
  });
}
