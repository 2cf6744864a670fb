import { api } from "../../../src/protocol/api/index.ts";
import { type Fault, nothingToEnd, type Scene } from "../fault.ts";
import { setUps } from "../set-up.ts";

const answerWithinMs = 10_000;

/** Text that PostgreSQL refuses, or that half a character is left of: each job fails with its own words, and the others are done. */
const hostileErrors: Fault = {
  name: "hostile-errors",
  rows: ["F-8.1"],
  setUps,
  needs: [],
  hits: ["load"],
  lastsMs: [300, 1000],
  begin: async ({ load }) => {
    // More than claimers and settlers there are: if they were repeated for ever, nothing else would be claimed.
    for (let at = 0; at < 7; at += 1)
      for (const text of ["nul", "surrogate", "cut"]) load.task({ task: "hostile", payload: { text }, ends: "failed", maxAttempts: 1 });
    for (let at = 0; at < 3; at += 1) load.item({ pipeline: "hostile", ms: 1, ends: "failed" });
    return nothingToEnd;
  },
};

/** The same text from a caller: refused in words. */
const hostileRequests: Fault = {
  name: "hostile-requests",
  rows: ["F-8.1"],
  setUps,
  needs: [],
  hits: ["load", "daemon"],
  lastsMs: [100, 300],
  begin: async (scene) => {
    for (const text of ["a\0b", "half \ud83d of it"]) {
      await refused(scene, "a label", (signal) =>
        scene.world.speaker.client.call(
          api.submitItem,
          { params: { name: "commands" }, body: { key: "refused-1", label: text } },
          { signal },
        ),
      );
      await refused(scene, "an agent's name", (signal) =>
        scene.world.speaker.client.call(api.enqueueJob, { body: { task: "work", payload: { ms: 1 }, agent: text } }, { signal }),
      );
    }
    return nothingToEnd;
  },
};

async function refused({ find }: Scene, what: string, ask: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
  try {
    await ask(AbortSignal.timeout(answerWithinMs));
    find(`${what} that cannot be stored was accepted`);
  } catch (thrown) {
    const { code } = thrown as { readonly code?: unknown };
    if (code !== "bad_request") find(`${what} that cannot be stored was answered with ${String(code)}, and not bad_request`);
  }
}

export const hostileTextFaults: readonly Fault[] = [hostileErrors, hostileRequests];
