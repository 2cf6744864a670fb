import type { FastifyInstance } from "fastify";
import { WakefulError } from "../../domain/errors.ts";
import { asHostId, asOwnerEpoch, asRunId, asWorkerId } from "../../domain/ids.ts";
import type { ProcessIdentity } from "../../processes/probe/identity.ts";
import { api } from "../../protocol/api/index.ts";
import type { RunSessionRef } from "../../worker/foreground/foreground-sessions.ts";
import { doneAnswer, mount } from "../mount.ts";
import type { DaemonServices } from "../services.ts";

export function runSessionRoutes(app: FastifyInstance, { runSessions }: DaemonServices): void {
  const sessions = () => {
    if (runSessions === undefined) throw new WakefulError("unavailable", "Only a running daemon can follow a run.");
    return runSessions;
  };

  mount(app, api.openRunSession, async ({ body: { argv, cwd, process } }) =>
    sessions().open({ argv, cwd, process: identityOfWire(process) }),
  );

  mount(app, api.startRunSession, async ({ params, body }) => ({
    started: await sessions().start({ ...refOf(params, body), process: identityOfWire(body.process) }),
  }));

  mount(app, api.commandOfRunSession, async ({ params, body }) => ({
    recorded: await sessions().recordCommand({ ...refOf(params, body), process: identityOfWire(body.process) }),
  }));

  mount(app, api.renewRunSession, async ({ params, body }) => sessions().renew(refOf(params, body)));

  mount(app, api.endRunSession, async ({ params, body }) => ({
    recorded: await sessions().end({ ...refOf(params, body), exitCode: body.exitCode }),
  }));

  mount(app, api.abandonRunSession, async ({ params, body }) => {
    await sessions().abandon({ ...refOf(params, body), reason: body.reason });
    return doneAnswer;
  });
}

const identityOfWire = (process: Omit<ProcessIdentity, "hostId"> & { readonly hostId: string }): ProcessIdentity => ({
  ...process,
  hostId: asHostId(process.hostId),
});

const refOf = (params: { readonly runId: number }, body: { readonly workerId: number; readonly ownerEpoch: number }): RunSessionRef => ({
  runId: asRunId(params.runId),
  workerId: asWorkerId(body.workerId),
  ownerEpoch: asOwnerEpoch(body.ownerEpoch),
});
