import type { FastifyInstance } from "fastify";
import { WakefulError } from "../../domain/errors.ts";
import { asJobId } from "../../domain/ids.ts";
import { runningJobs } from "../../operations/running-jobs.ts";
import { api } from "../../protocol/api/index.ts";
import { defaultPageLimit } from "../../protocol/wire.ts";
import { doneAnswer, mount } from "../mount.ts";
import type { DaemonServices } from "../services.ts";
import { jobView, runView } from "../views.ts";

export function jobRoutes(app: FastifyInstance, { store, operations }: DaemonServices): void {
  mount(app, api.listJobs, async ({ query }) => {
    const { queue, state, before, limit = defaultPageLimit } = query;
    const jobs = await store.upkeep.listJobs({
      limit,
      queue,
      states: state,
      before: before === undefined ? undefined : asJobId(before),
    });
    return { jobs: jobs.map(jobView) };
  });

  mount(app, api.listRunningJobs, async () => ({ jobs: await runningJobs(store) }));

  mount(app, api.getJob, async ({ params }) => {
    const id = asJobId(params.id);
    const job = await store.jobs.get(id);
    if (job === undefined) throw new WakefulError("not_found", `There is no job ${id}.`, { details: { jobId: id } });
    return { job: jobView(job), runs: (await store.runs.ofJob(id)).map(runView) };
  });

  mount(app, api.enqueueJob, async ({ body }) => {
    const { payload, ...request } = body;
    return { jobId: await operations.enqueueTask({ ...request, payload: payload === undefined ? undefined : JSON.stringify(payload) }) };
  });

  mount(app, api.retryJob, async ({ params }, { actor }) => ({ jobId: await operations.retryJob({ id: asJobId(params.id), actor }) }));

  mount(app, api.unholdJob, async ({ params, body }, { actor }) => {
    await operations.unhold({ id: asJobId(params.id), force: body?.force ?? false, actor });
    return doneAnswer;
  });

  mount(app, api.cancelJob, async ({ params, body }, { actor }) => {
    await operations.cancelJob({ id: asJobId(params.id), reason: body?.reason ?? "cancelled by a person", actor });
    return doneAnswer;
  });
}
