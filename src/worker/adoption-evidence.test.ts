import { linkSync, mkdirSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { enderOf } from "../../test/support/ender.ts";
import { liveRun } from "../../test/support/live-run.ts";
import { makeTempDir } from "../../test/support/temp-dir-maker.ts";
import { asHostId, asJobId, asRunId, asWorkerId, type HostId, type RunId } from "../domain/ids.ts";
import { addMs, asInstant, type DurationMs } from "../domain/time.ts";
import { type DataPaths, dataPaths, runDirOf } from "../files/data-paths.ts";
import { recordedOutcome } from "../liveness/retry-contract.ts";
import { judgeRun, type RunMemory } from "../liveness/run-policy.ts";
import { defaultRunThresholds } from "../liveness/run-thresholds.ts";
import type { VantageView } from "../liveness/vantage.ts";
import { mayStillLive, type RunVerdict } from "../liveness/verdict.ts";
import { type ObservedRun, RunObserver } from "../observe/run-evidence.ts";
import { PresenceRegistry } from "../observe/session-presence.ts";
import { PipelineRegistry } from "../pipelines/registry.ts";
import type { HostIdentity, ProbeAnswer, ProcessIdentity, ProcessProbe } from "../processes/probe/identity.ts";
import { makeLifePipe } from "../processes/run-folder/life-pipe.ts";
import { identityRecord, runFiles } from "../processes/run-folder/run-files.ts";
import type { LiveRun, Settlement } from "../store/port/runs.ts";
import { adoptOrRequeue } from "./adoption.ts";

const lives = {
  alive: { kind: "alive" },
  dead: { kind: "dead", why: "no_such_process" },
  otherBoot: { kind: "otherBoot" },
  otherNamespace: { kind: "unknown", why: "foreign_namespace" },
  unreadable: { kind: "unknown", why: "unreadable" },
} satisfies Record<string, ProbeAnswer>;
type Life = keyof typeof lives;

/** One combination of all that can be found of a run. */
interface Found {
  readonly state: "started" | "exited";
  readonly record: "none" | "exit" | "nogo" | "torn";
  /** Of the command: `nothing` not even the wrapper's record is there; `wrapper` the wrapper's alone; `file` the store still has the wrapper. */
  readonly command: "nothing" | "wrapper" | "file" | "store";
  readonly life: Life;
  readonly wrapper: "alive" | "dead";
  readonly pipe: "held" | "released" | "none";
  readonly supervisor: Life | "stopped" | "declared_dead" | "not_on_record";
}

const all = {
  state: ["started", "exited"],
  record: ["none", "exit", "nogo", "torn"],
  command: ["nothing", "wrapper", "file", "store"],
  life: ["alive", "dead", "otherBoot", "otherNamespace", "unreadable"],
  wrapper: ["alive", "dead"],
  pipe: ["held", "released", "none"],
  supervisor: ["alive", "dead", "otherBoot", "unreadable", "stopped", "declared_dead", "not_on_record"],
} as const satisfies { readonly [Key in keyof Found]: readonly Found[Key][] };

function combinations(): readonly Found[] {
  let found: readonly Partial<Found>[] = [{}];
  for (const key of Object.keys(all) as (keyof Found)[])
    found = found.flatMap((one) => all[key].map((value): Partial<Found> => ({ ...one, [key]: value })));
  return (found as readonly Found[]).filter(({ command, life, wrapper, state, record, pipe, supervisor }) => {
    if (life === "unreadable" && pipe === "released") return false;
    if (record === "nogo" && (supervisor === "unreadable" || supervisor === "stopped")) return false;
    if (record === "exit" && state === "started" && pipe !== "held") return false;
    if (record === "torn" && supervisor !== "dead") return false;
    if (supervisor === "declared_dead" && (record !== "none" || command !== "store")) return false;
    // What stands on disk says nothing new of an exit that the store has.
    if (state === "exited" && (record !== "exit" || command !== "store")) return false;
    // The wrapper is the process on record, so the two are one.
    return command === "file" || command === "store" || wrapper === (life === "alive" ? "alive" : "dead");
  });
}

interface Case {
  readonly found: Found;
  readonly run: LiveRun;
}

const host: HostIdentity = { hostId: asHostId("host-a"), bootId: "boot-of-host-a", pidNamespace: "ns" };
const epoch = asInstant(1_000_000_000);
const dayMs: DurationMs = 86_400_000;
const none: ReadonlySet<HostId> = new Set();

class CaseProbe implements ProcessProbe {
  readonly lives = new Map<number, ProbeAnswer>();
  observe({ pid }: ProcessIdentity): ProbeAnswer {
    return this.lives.get(pid) ?? lives.unreadable;
  }
  observeMany(identities: readonly ProcessIdentity[]): readonly ProbeAnswer[] {
    return identities.map((identity) => this.observe(identity));
  }
}

const processOf = (pid: number): ProcessIdentity => ({ ...host, pid, startTime: "12345" });

/** Lays all combinations out on a disk, as wrappers and commands leave them. */
async function layOut() {
  const { path: baseDir, remove } = makeTempDir("adoption-evidence");
  const paths = dataPaths(join(baseDir, "data"));
  const pipes = { held: join(baseDir, "held"), released: join(baseDir, "released") };
  for (const dir of Object.values(pipes)) {
    mkdirSync(dir);
    await makeLifePipe(dir);
  }
  const held = await open(runFiles(pipes.held).lifePipe, "r+");
  const probe = new CaseProbe();
  const cases = combinations().map((found, index) => layOutOne({ found, runId: asRunId(index + 1), paths, pipes, probe }));
  const registry = new PipelineRegistry([]);
  const observer = new RunObserver({
    daemons: { isLiving: () => false },
    probe,
    host,
    paths,
    presence: new PresenceRegistry(),
    registry,
  });
  return {
    probe,
    cases,
    registry,
    observer,
    remove: async () => {
      await held.close();
      remove();
    },
  };
}

function layOutOne({
  found,
  runId,
  paths,
  pipes,
  probe,
}: {
  readonly found: Found;
  readonly runId: RunId;
  readonly paths: DataPaths;
  readonly pipes: { readonly held: string; readonly released: string };
  readonly probe: CaseProbe;
}): Case {
  const [command, wrapper, supervisor] = [1, 2, 3].map((each) => processOf(runId * 10 + each)) as [
    ProcessIdentity,
    ProcessIdentity,
    ProcessIdentity,
  ];
  const runDir = runDirOf(paths, runId);
  mkdirSync(runDir, { recursive: true });
  const files = runFiles(runDir);
  if (found.command !== "nothing") writeFileSync(files.started, identityRecord(runId, wrapper));
  if (found.command === "file" || found.command === "store") writeFileSync(files.command, identityRecord(runId, command));
  if (found.record !== "none")
    writeFileSync(files.exit, { exit: `${runId} 0 ${host.bootId}\n`, nogo: `${runId} nogo ${host.bootId}\n`, torn: "12" }[found.record]);
  if (found.pipe !== "none") linkSync(runFiles(pipes[found.pipe]).lifePipe, files.lifePipe);
  const isWrapper = found.command === "nothing" || found.command === "wrapper";
  probe.lives.set(command.pid, lives[found.life]);
  probe.lives.set(wrapper.pid, isWrapper ? lives[found.life] : lives[found.wrapper]);
  const sessionOver = found.supervisor === "stopped" || found.supervisor === "declared_dead";
  if (!sessionOver && found.supervisor !== "not_on_record") probe.lives.set(supervisor.pid, lives[found.supervisor]);
  const workerId = asWorkerId(runId);
  const run = liveRun({
    id: runId,
    jobId: asJobId(runId),
    state: found.state,
    workerId,
    reservedAt: epoch,
    startedAt: epoch,
    exitedAt: found.state === "exited" ? epoch : null,
    checkAt: epoch,
    process: found.command === "store" ? command : wrapper,
    wrapper,
    limits: { maxRunningMs: dayMs },
    exitCode: found.state === "exited" ? 0 : null,
    supervisor:
      found.supervisor === "not_on_record"
        ? null
        : {
            workerId,
            state: found.supervisor === "stopped" ? "stopped" : found.supervisor === "declared_dead" ? "dead" : "live",
            process: supervisor,
            lastHeardAt: epoch,
            via: null,
            claimSeqReceived: 1,
          },
  });
  return { found, run };
}

type Decision = "adopt" | "leave" | (Pick<Settlement, "outcome" | "reason"> & { readonly blocked: boolean });

/** What each of the two judges looks at besides: the same for all runs of one start. */
interface Start {
  readonly adoption: boolean;
  /** How long ago each session was last heard. */
  readonly silentMs: DurationMs;
  readonly hostConflict: boolean;
}

/** One start over all combinations. */
async function decide(world: Awaited<ReturnType<typeof layOut>>, { adoption, silentMs, hostConflict }: Start) {
  const decisions = new Map<RunId, Decision>();
  const now = addMs(epoch, silentMs);
  const settle = async ([settlement]: readonly Settlement[]) => {
    if (settlement === undefined) return [];
    const { runId, outcome, reason, stopBy } = settlement;
    decisions.set(runId, { outcome, reason, blocked: stopBy !== undefined });
    return [{ kind: "ok", outcome: recordedOutcome[outcome], jobState: "queued" } as const];
  };
  const runs = world.cases.map(({ run }) => run);
  const store = {
    now: () => now,
    runs: {
      settle,
      listAllLive: async ({ after, limit }: { readonly after?: RunId; readonly limit: number }) =>
        runs.slice(after ?? 0, (after ?? 0) + limit),
      listLive: async (ids: readonly RunId[]) => ids.flatMap((id) => runs[id - 1] ?? []),
      ofJob: async () => [],
    },
    workers: { listHostConflicts: async (): Promise<readonly HostId[]> => (hostConflict ? [host.hostId] : []) },
  };
  await adoptOrRequeue({
    store: store as never,
    hostId: host.hostId,
    observer: world.observer,
    probe: world.probe,
    settings: { thresholds: defaultRunThresholds, adoption, recoverySpreadMs: 0 },
    ender: enderOf({ store: store as never, registry: world.registry, emit: () => undefined, stopWithinMs: () => 17_000 }),
    adopt: async ({ id }) => {
      decisions.set(id, "adopt");
      return true;
    },
    stopUnknown: async () => 0,
    emit: (name, data) => {
      if (name !== "run.ended") throw new Error(`${name}: ${JSON.stringify(data)}`);
    },
    pause: async () => undefined,
  });
  return ({ run }: Case): Decision => decisions.get(run.id) ?? "leave";
}

/** The supervisor's death is proved: its session is over, its process dead, or gone with an earlier boot (tier 0). */
const supervisorIsDead = ({ supervisor }: Found, { silentMs, hostConflict }: Start): boolean =>
  !hostConflict &&
  (supervisor === "dead" ||
    supervisor === "stopped" ||
    supervisor === "declared_dead" ||
    (supervisor === "otherBoot" && silentMs >= defaultRunThresholds.deadAfterMs));

/** What the job-reaper says once the session is declared dead, after as many looks as it takes, by a watcher that has just begun to hear. */
function reaperOn({ facts, evidence }: ObservedRun, { silentMs }: Start): RunVerdict {
  const hearsNothing: VantageView = {
    mode: "normal",
    silence: () => ({ sinceHeardMs: 0, silentMs: 0, deafMs: 0, earned: false, earnedInMs: 1000 }),
  };
  let memory: RunMemory | undefined;
  let verdict: RunVerdict | undefined;
  for (let look = 0; look < defaultRunThresholds.deadTicks; look++) {
    const now = addMs(epoch, silentMs + look * defaultRunThresholds.suspectRecheckMs);
    ({ verdict, memory } = judgeRun(facts, { ...evidence, supervisor: "dead" }, memory, defaultRunThresholds, hearsNothing, now));
  }
  if (verdict === undefined) throw new Error("never looked");
  return verdict;
}

/** The same in the words of a start. */
function decisionOfReaper(verdict: RunVerdict): Decision {
  switch (verdict.kind) {
    case "record_exit":
    case "exited_known":
    case "orphaned_adopt":
      return "adopt";
    case "never_started":
      return { outcome: "never_started", reason: verdict.reason, blocked: mayStillLive(verdict) };
    case "dead":
      return { outcome: "lost", reason: "supervisor_dead", blocked: mayStillLive(verdict) };
    default:
      return "leave";
  }
}

describe("on every combination of evidence", { timeout: 60_000 }, () => {
  let world: Awaited<ReturnType<typeof layOut>>;
  beforeAll(async () => {
    world = await layOut();
  });
  afterAll(async () => await world.remove());

  test.each<Start>([
    { adoption: true, silentMs: 60_000, hostConflict: false },
    { adoption: true, silentMs: 10_000, hostConflict: false },
    { adoption: true, silentMs: 60_000, hostConflict: true },
  ])("a start decides as the job-reaper would, of runs whose supervisor is proved dead alone: %o", async (start) => {
    const decisionOf = await decide(world, start);
    for (const each of world.cases) {
      const verdict = reaperOn(await world.observer.observe(each.run, none), start);
      const expected = supervisorIsDead(each.found, start) ? decisionOfReaper(verdict) : "leave";
      expect(decisionOf(each), JSON.stringify({ ...each.found, verdict })).toEqual(expected);
    }
  });

  test("with adoption off it differs in this alone: what it would go on with, or has died, goes back for nothing", async () => {
    const start: Start = { adoption: false, silentMs: 60_000, hostConflict: false };
    const decisionOf = await decide(world, start);
    for (const each of world.cases) {
      const verdict = reaperOn(await world.observer.observe(each.run, none), start);
      const off = { outcome: "released", reason: "adoption_off" } as const;
      const expected = !supervisorIsDead(each.found, start)
        ? "leave"
        : verdict.kind === "orphaned_adopt"
          ? { ...off, blocked: true }
          : verdict.kind === "dead"
            ? { ...off, blocked: mayStillLive(verdict) }
            : decisionOfReaper(verdict);
      expect(decisionOf(each), JSON.stringify({ ...each.found, verdict })).toEqual(expected);
    }
  });
});
