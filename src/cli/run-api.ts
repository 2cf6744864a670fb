import { cutText } from "../domain/cut-text.ts";
import { isWakefulError } from "../domain/errors.ts";
import { asJobId, asOwnerEpoch, asRunId, asWorkerId } from "../domain/ids.ts";
import { api } from "../protocol/api/index.ts";
import type { LeaseWire } from "../protocol/api/rows.ts";
import { argvWireMax } from "../protocol/api/run-sessions.ts";
import type { Client } from "../protocol/client.ts";
import type { RunCommandApi } from "../worker/foreground/foreground-api.ts";
import type { RunSessionRef } from "../worker/foreground/foreground-sessions.ts";

/** The longest page that the API answers. */
const leasesMax = 500;

/** What `wakeful run` asks of the daemon, over the daemon's API. Rejects with the errors of the client. */
export function createRunApi(client: Client): RunCommandApi {
  return {
    open: async ({ argv, cwd, process }) => {
      const opened = await client.call(api.openRunSession, { body: { argv: shownArgv(argv), cwd, process } });
      return {
        ...opened,
        workerId: asWorkerId(opened.workerId),
        runId: asRunId(opened.runId),
        jobId: asJobId(opened.jobId),
        ownerEpoch: asOwnerEpoch(opened.ownerEpoch),
      };
    },
    start: async ({ process, ...run }) =>
      (await client.call(api.startRunSession, { params: paramsOf(run), body: { ...fenceOf(run), process } })).started,
    recordCommand: async ({ process, ...run }) =>
      (await client.call(api.commandOfRunSession, { params: paramsOf(run), body: { ...fenceOf(run), process } })).recorded,
    renew: async (run) => client.call(api.renewRunSession, { params: paramsOf(run), body: fenceOf(run) }),
    end: async ({ exitCode, ...run }) =>
      (await client.call(api.endRunSession, { params: paramsOf(run), body: { ...fenceOf(run), exitCode } })).recorded,
    abandon: async ({ reason, ...run }) => {
      await client.call(api.abandonRunSession, { params: paramsOf(run), body: { ...fenceOf(run), reason: cutText(reason, 1000) } });
    },
    acquireLease: async ({ name, ticket, runId, ttlMs, maxHoldMs, waitMs }) =>
      client.call(api.acquireLease, { params: { name }, body: { ticket, holder: { kind: "run", runId }, ttlMs, maxHoldMs, waitMs } }),
    abandonLease: async ({ name, ticket }) => {
      await client.call(api.abandonLease, { params: { name }, body: { ticket } });
    },
    renewLease: async ({ name, fencing }) => oursStill(client.call(api.renewLease, { params: { name }, body: { fencing } })),
    releaseLease: async ({ name, fencing }) =>
      oursStill(client.call(api.releaseLease, { params: { name }, body: { fencing, reason: "its command has ended" } })),
    leaseHolder: async (name) => {
      const { leases } = await client.call(api.listLeases, { query: { limit: leasesMax } });
      const lease = leases.find((each) => each.name === name);
      if (lease === undefined || lease.grantedAt === null || lease.holder === null) return undefined;
      const { now } = await client.call(api.getDaemon, {});
      return { holder: await holderText(client, lease.holder), heldMs: Math.max(0, now - lease.grantedAt) };
    },
  };
}

const paramsOf = ({ runId }: RunSessionRef) => ({ runId });
const fenceOf = ({ workerId, ownerEpoch }: RunSessionRef) => ({ workerId, ownerEpoch });

/** A `conflict` means that the lease is somebody else's; every other error is thrown. */
async function oursStill(answer: Promise<unknown>): Promise<boolean> {
  try {
    await answer;
    return true;
  } catch (thrown) {
    if (isWakefulError(thrown) && thrown.code === "conflict") return false;
    throw thrown;
  }
}

/** What the daemon shows to people; the command itself gets all its arguments from us. */
function shownArgv(argv: readonly string[]): string[] {
  const { words, characters } = argvWireMax;
  const shown = argv.slice(0, words).map((word) => (word.length > characters ? `${cutText(word, characters - 1)}…` : word));
  if (argv.length > words) shown[words - 1] = `… ${argv.length - words + 1} more`;
  return shown;
}

async function holderText(client: Client, holder: NonNullable<LeaseWire["holder"]>): Promise<string> {
  if (holder.kind === "process") return `process ${holder.process.pid}`;
  const { run } = await client.call(api.getRun, { params: { id: holder.runId } });
  return `job:${run.jobId}`;
}
