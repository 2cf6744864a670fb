import type { FastifyInstance } from "fastify";
import type { LoopName } from "../../config/loop-names.ts";
import { WakefulError } from "../../domain/errors.ts";
import { api } from "../../protocol/api/index.ts";
import { mount } from "../mount.ts";
import type { DaemonServices } from "../services.ts";

export function loopRoutes(app: FastifyInstance, { loops }: DaemonServices): void {
  mount(app, api.listLoops, async () => ({ loops: loops.snapshots().map((loop) => ({ ...loop })) }));

  mount(app, api.runLoop, async ({ params, query }) => {
    const known = loops.snapshots().map(({ name }) => name);
    const name = known.find((each): each is LoopName => each === params.name);
    const report = name === undefined ? undefined : await loops.runOnce(name, { dryRun: query.dryRun ?? false });
    if (report === undefined)
      throw new WakefulError("not_found", `There is no loop "${params.name}"; this daemon runs ${known.join(", ") || "none"}.`, {
        details: { loop: params.name, known },
      });
    return { report };
  });
}
