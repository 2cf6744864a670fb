import type { ProbeAnswer, ProcessIdentity, ProcessProbe } from "../processes/probe/identity.ts";

const keyOf = ({ hostId, bootId, pidNamespace, pid, startTime }: ProcessIdentity): string =>
  `${hostId} ${bootId} ${pidNamespace} ${pid} ${startTime}`;

/**
 * The probe of one tick: it asks each process once, so that a thousand runs of one host cost one look, and all verdicts of a tick rest on
 * the same answers.
 */
export class CachedProbe implements ProcessProbe {
  readonly #probe: ProcessProbe;
  readonly #answers = new Map<string, ProbeAnswer>();

  constructor(probe: ProcessProbe) {
    this.#probe = probe;
  }

  observe(identity: ProcessIdentity): ProbeAnswer {
    return this.observeMany([identity])[0] ?? { kind: "unknown", why: "unreadable" };
  }

  observeMany(identities: readonly ProcessIdentity[]): readonly ProbeAnswer[] {
    const fresh = new Map<string, ProcessIdentity>();
    for (const identity of identities) {
      const key = keyOf(identity);
      if (!this.#answers.has(key)) fresh.set(key, identity);
    }
    const lives = fresh.size === 0 ? [] : this.#probe.observeMany([...fresh.values()]);
    for (const [at, key] of [...fresh.keys()].entries()) this.#answers.set(key, lives[at] ?? { kind: "unknown", why: "unreadable" });
    return identities.map((identity) => this.#answers.get(keyOf(identity)) ?? { kind: "unknown", why: "unreadable" });
  }
}
