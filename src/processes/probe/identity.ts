import type { HostId } from "../../domain/ids.ts";
import { isZombie } from "./process-stat.ts";
import type { ProcessSight, ProcessTable } from "./process-table.ts";

/** Where a pid is valid: one boot of one host, seen from one pid namespace. */
export interface HostIdentity {
  readonly hostId: HostId;
  readonly bootId: string;
  /** `pid:[4026531836]` on Linux; `none` where there are no namespaces. */
  readonly pidNamespace: string;
}

/** Names one process for ever: a pid alone is reused sooner or later. */
export interface ProcessIdentity extends HostIdentity {
  readonly pid: number;
  /** `/proc/PID/stat` field 22, as printed; macOS: `ps -o lstart=` with `_` for blanks. */
  readonly startTime: string;
}

export type DeadBecause = "no_such_process" | "zombie" | "other_start_time";
export type UnknownBecause = "foreign_host" | "foreign_namespace" | "invalid_identity" | "unreadable";

/**
 * The answer of a probe. Only `dead` is positive evidence; `otherBoot` is for tier 0 alone; `unknown` moves nothing. A process that we may
 * not signal is alive.
 */
export type ProbeAnswer =
  | { readonly kind: "alive" }
  | { readonly kind: "dead"; readonly why: DeadBecause }
  | { readonly kind: "otherBoot" }
  | { readonly kind: "unknown"; readonly why: UnknownBecause; readonly error?: string };

/** Asks whether processes live. Writes nothing, and never throws for what a process or its absence may do. */
export interface ProcessProbe {
  observe(identity: ProcessIdentity): ProbeAnswer;
  /** The same for many, in their order; equal pids are looked at once. */
  observeMany(identities: readonly ProcessIdentity[]): readonly ProbeAnswer[];
}

/** Whether both name the same process. */
export const sameProcess = (a: ProcessIdentity, b: ProcessIdentity): boolean =>
  a.pid === b.pid && a.startTime === b.startTime && a.bootId === b.bootId && a.hostId === b.hostId && a.pidNamespace === b.pidNamespace;

/** What can be said without a probe. `undefined`: its pid may be looked up here. */
function lifeFromAfar(identity: ProcessIdentity, host: HostIdentity): ProbeAnswer | undefined {
  // A boot has one machine: a second installation on it, or one whose host id was changed, is looked at like our own.
  if (identity.bootId !== host.bootId)
    return identity.hostId === host.hostId ? { kind: "otherBoot" } : { kind: "unknown", why: "foreign_host" };
  if (identity.pidNamespace !== host.pidNamespace) return { kind: "unknown", why: "foreign_namespace" };
  if (!Number.isInteger(identity.pid) || identity.pid <= 0 || identity.startTime === "")
    return { kind: "unknown", why: "invalid_identity" };
  return undefined;
}

function lifeFromSight(identity: ProcessIdentity, sight: ProcessSight): ProbeAnswer {
  switch (sight.kind) {
    case "absent":
      return { kind: "dead", why: "no_such_process" };
    case "denied":
      return { kind: "alive" };
    case "unreadable":
      return { kind: "unknown", why: "unreadable", error: sight.error };
    case "seen":
      if (sight.row.startTime !== identity.startTime) return { kind: "dead", why: "other_start_time" };
      return isZombie(sight.row) ? { kind: "dead", why: "zombie" } : { kind: "alive" };
  }
}

/**
 * The stored process, if it is the command's own. Undefined: there is none, or it is still the wrapper's, because no command was seen to
 * start.
 */
export const commandOnRecord = (run: {
  readonly process: ProcessIdentity | null;
  readonly wrapper: ProcessIdentity | null;
}): ProcessIdentity | undefined =>
  run.process === null || (run.wrapper !== null && sameProcess(run.process, run.wrapper)) ? undefined : run.process;

/** The probe of this host, boot and namespace. */
export function createProcessProbe({ host, table }: { readonly host: HostIdentity; readonly table: ProcessTable }): ProcessProbe {
  const observeMany = (identities: readonly ProcessIdentity[]): readonly ProbeAnswer[] => {
    const afar = identities.map((identity) => lifeFromAfar(identity, host));
    const pids = [...new Set(identities.filter((_, index) => afar[index] === undefined).map((identity) => identity.pid))];
    const sights = table.lookMany(pids);
    const sightOf = new Map(pids.map((pid, index) => [pid, sights[index]]));
    return identities.map((identity, index) => {
      const known = afar[index];
      if (known !== undefined) return known;
      return lifeFromSight(identity, sightOf.get(identity.pid) ?? { kind: "unreadable", error: "the process table said nothing" });
    });
  };
  return {
    observeMany,
    observe: (identity) => lifeFromAfar(identity, host) ?? lifeFromSight(identity, table.look(identity.pid)),
  };
}
