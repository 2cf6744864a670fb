import { linkSync, mkdirSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { tempDir } from "../../test/support/temp-dir.ts";
import { asHostId, asJobId, asRunId, asWorkerId, firstOwnerEpoch, type HostId, type RunId } from "../domain/ids.ts";
import { addMs, asInstant, type DurationMs } from "../domain/time.ts";
import { type DataPaths, dataPaths, runDirOf } from "../files/data-paths.ts";
import type { RunEvidence } from "../liveness/evidence.ts";
import { judgeRun, type RunMemory } from "../liveness/run-policy.ts";
import { defaultRunThresholds } from "../liveness/run-thresholds.ts";
import type { VantageView } from "../liveness/vantage.ts";
import type { RunVerdict } from "../liveness/verdict.ts";
import { type ObservedRun, RunObserver } from "../observe/run-evidence.ts";
import { PresenceBook } from "../observe/session-presence.ts";
import { PipelineRegistry } from "../pipelines/registry.ts";
import type { HostIdentity, ProcessIdentity, ProcessLife, ProcessProbe } from "../processes/probe/identity.ts";
import { makeLifePipe } from "../processes/run-folder/life-pipe.ts";
import { runFiles } from "../processes/run-folder/run-files.ts";
import type { LiveRun, Settlement } from "../store/port/runs.ts";
import { adoptOrRequeue } from "./adoption.ts";

const lives = {
  alive: { kind: "alive" },
  dead: { kind: "dead", why: "no_such_process" },
  otherBoot: { kind: "otherBoot" },
  otherNamespace: { kind: "unknown", why: "foreign_namespace" },
  unreadable: { kind: "unknown", why: "unreadable" },
} satisfies Record<string, ProcessLife>;
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
  readonly supervisor: Life | "stopped" | "buried" | "not_on_record";
}

const all = {
  state: ["started", "exited"],
  record: ["none", "exit", "nogo", "torn"],
  command: ["nothing", "wrapper", "file", "store"],
  life: ["alive", "dead", "otherBoot", "otherNamespace", "unreadable"],
  wrapper: ["alive", "dead"],
  pipe: ["held", "released", "none"],
  supervisor: ["alive", "dead", "otherBoot", "unreadable", "stopped", "buried", "not_on_record"],
} as const satisfies { readonly [Key in keyof Found]: readonly Found[Key][] };

function combinations(): readonly Found[] {
  let found: readonly Partial<Found>[] = [{}];
  for (const key of Object.keys(all) as (keyof Found)[])
    found = found.flatMap((one) => all[key].map((value): Partial<Found> => ({ ...one, [key]: value })));
  return (found as readonly Found[]).filter(({ command, life, wrapper, state, record, supervisor }) => {
    if (record === "torn" && supervisor !== "dead") return false;
    if (supervisor === "buried" && (record !== "none" || command !== "store")) return false;
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

class CaseProbe implements ProcessProbe {
  readonly lives = new Map<number, ProcessLife>();
  observe({ pid }: ProcessIdentity): ProcessLife {
    return this.lives.get(pid) ?? lives.unreadable;
  }
  observeMany(identities: readonly ProcessIdentity[]): readonly ProcessLife[] {
    return identities.map((identity) => this.observe(identity));
  }
}

const processOf = (pid: number): ProcessIdentity => ({ ...host, pid, startTime: "12345" });

/** Lays all combinations out on a disk, as wrappers and commands leave them. */
async function layOut() {
  const baseDir = tempDir("adoption-evidence");
  const paths = dataPaths(join(baseDir, "data"));
  const pipes = { held: join(baseDir, "held"), released: join(baseDir, "released") };
  for (const dir of Object.values(pipes)) {
    mkdirSync(dir);
    await makeLifePipe(dir);
  }
  const held = await open(runFiles(pipes.held).lifePipe, "r+");
  onTestFinished(() => held.close());
  const probe = new CaseProbe();
  const cases = combinations().map((found, index) => layOutOne({ found, runId: asRunId(index + 1), paths, pipes, probe }));
  const registry = new PipelineRegistry([]);
  const observer = new RunObserver({ probe, host, paths, presence: new PresenceBook(), registry });
  return { paths, probe, cases, registry, observer };
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
  const line = ({ pid, startTime, bootId, pidNamespace, hostId }: ProcessIdentity): string =>
    `${runId} ${pid} ${startTime} ${bootId} ${pidNamespace} ${hostId}\n`;
  if (found.command !== "nothing") writeFileSync(files.started, line(wrapper));
  if (found.command === "file" || found.command === "store") writeFileSync(files.command, line(command));
  if (found.record !== "none")
    writeFileSync(files.exit, { exit: `${runId} 0 ${host.bootId}\n`, nogo: `${runId} nogo ${host.bootId}\n`, torn: "12" }[found.record]);
  if (found.pipe !== "none") linkSync(runFiles(pipes[found.pipe]).lifePipe, files.lifePipe);
  const isWrapper = found.command === "nothing" || found.command === "wrapper";
  probe.lives.set(command.pid, lives[found.life]);
  probe.lives.set(wrapper.pid, isWrapper ? lives[found.life] : lives[found.wrapper]);
  const sessionOver = found.supervisor === "stopped" || found.supervisor === "buried";
  if (!sessionOver && found.supervisor !== "not_on_record") probe.lives.set(supervisor.pid, lives[found.supervisor]);
  const workerId = asWorkerId(runId);
  const run: LiveRun = {
    id: runId,
    jobId: asJobId(runId),
    attempt: 1,
    state: found.state,
    ownerEpoch: firstOwnerEpoch,
    workerId,
    kind: "command",
    claimSeq: 1,
    reservedAt: epoch,
    startedAt: epoch,
    exitedAt: found.state === "exited" ? epoch : null,
    endedAt: null,
    checkAt: epoch,
    process: found.command === "store" ? command : wrapper,
    wrapper,
    limits: { maxRunningMs: dayMs },
    progressAt: null,
    progress: null,
    exitCode: found.state === "exited" ? 0 : null,
    gatePendingAt: null,
    slotKey: null,
    outcome: null,
    reason: null,
    message: null,
    evidence: null,
    spent: null,
    bySessionDeath: false,
    suspendedMs: 0,
    queue: "dev",
    attempts: 1,
    maxAttempts: 3,
    losses: 0,
    maxLosses: null,
    lastLossAt: null,
    itemId: null,
    visitId: null,
    itemStage: null,
    itemVisitId: null,
    pipeline: null,
    pipelineVersion: null,
    agent: null,
    repo: null,
    supervisor:
      found.supervisor === "not_on_record"
        ? null
        : {
            workerId,
            state: found.supervisor === "stopped" ? "stopped" : found.supervisor === "buried" ? "dead" : "live",
            process: supervisor,
            lastHeardAt: epoch,
            claimSeqReceived: 1,
          },
  };
  return { found, run };
}

type Decision = "adopt" | "leave" | (Pick<Settlement, "outcome" | "reason" | "spend"> & { readonly blocked: boolean });

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
    const { runId, outcome, reason, spend, stopBy } = settlement;
    decisions.set(runId, { outcome, reason, spend, blocked: stopBy !== undefined });
    return [{ kind: "ok" as const }];
  };
  const runs = world.cases.map(({ run }) => run);
  const store = {
    now: () => now,
    runs: {
      settle,
      listAllLive: async ({ after, limit }: { readonly after?: RunId; readonly limit: number }) =>
        runs.slice(after ?? 0, (after ?? 0) + limit),
      ofJob: async () => [],
      get: async () => runs[0],
    },
    workers: { listHostConflicts: async (): Promise<readonly HostId[]> => (hostConflict ? [host.hostId] : []) },
  };
  await adoptOrRequeue({
    store: store as never,
    probe: world.probe,
    host,
    table: undefined as never,
    paths: world.paths,
    clock: { mono: () => 0 },
    settling: { registry: world.registry, random: () => 0 },
    emit: (name, data) => {
      if (name !== "run.ended") throw new Error(`${name}: ${JSON.stringify(data)}`);
    },
    enabled: adoption,
    adopt: async ({ id }) => {
      decisions.set(id, "adopt");
      return true;
    },
    stopGraceMs: 0,
    killGraceMs: 0,
    recoverySpreadMs: 0,
    shielded: () => [],
  });
  return ({ run }: Case): Decision => decisions.get(run.id) ?? "leave";
}

/** The job-reaper's judgement after as many looks as it needs, by a watcher that has just begun to hear. */
function reaperOn(observed: ObservedRun, { hostConflict, silentMs }: Start): RunVerdict {
  const hearsNothing: VantageView = {
    mode: "normal",
    silence: () => ({ sinceHeardMs: 0, silentMs: 0, deafMs: 0, earned: false, earnedInMs: 1000 }),
  };
  const evidence: RunEvidence = { ...observed.evidence, hostConflict };
  let memory: RunMemory | undefined;
  let verdict: RunVerdict | undefined;
  for (let look = 0; look < 2; look++) {
    const now = addMs(epoch, silentMs + look * 250);
    ({ verdict, memory } = judgeRun(observed.facts, evidence, memory, defaultRunThresholds, hearsNothing, now));
  }
  if (verdict === undefined) throw new Error("never looked");
  return verdict;
}

const kindOf = (decision: Decision): string => (typeof decision === "string" ? decision : "requeue");

/** What the job-reaper's verdict makes of the run, in the words of a start. */
function kindOfVerdict({ kind }: RunVerdict): string {
  if (kind === "record_exit" || kind === "exited_known" || kind === "orphaned_adopt") return "adopt";
  return kind === "dead" || kind === "never_started" ? "requeue" : "leave";
}

const starts: readonly Start[] = [
  { adoption: true, silentMs: 60_000, hostConflict: false },
  { adoption: true, silentMs: 10_000, hostConflict: false },
  { adoption: true, silentMs: 60_000, hostConflict: true },
  { adoption: false, silentMs: 60_000, hostConflict: false },
];

/** Where a start decides otherwise than the job-reaper. */
const differences: Readonly<Record<string, (found: Found, start: Start) => boolean>> = {
  "a supervisor that is not proved dead looks after its run itself": ({ supervisor }) =>
    supervisor === "alive" || supervisor === "unreadable",
  "adoption is off: what could be gone on with is queued again": ({ life, pipe }, { adoption }) =>
    !adoption && (life === "alive" || (pipe === "held" && life !== "dead")),
  "another boot of the supervisor is taken for its death": ({ supervisor }) => supervisor === "otherBoot",
  "no session on record is taken for a death": ({ supervisor }) => supervisor === "not_on_record",
  "pids are trusted under a host id of two boots": (_found, { hostConflict }) => hostConflict,
  "another boot of the process ends a run whose session is heard": ({ life }, { silentMs }) => life === "otherBoot" && silentMs < 30_000,
  "a held pipe is adopted although its process is of another boot": ({ life, pipe }) => life === "otherBoot" && pipe === "held",
  "what never began is adopted, or left": ({ record }) => record === "nogo",
  "an end that is being written down is not waited for": ({ life, wrapper, command }) =>
    life === "dead" && wrapper === "alive" && (command === "file" || command === "store"),
  "a released pipe of another pid namespace is left": ({ life, pipe }) => life === "otherNamespace" && pipe === "released",
};

test("a start decides on all evidence as the job-reaper does, but for the differences that are named", { timeout: 60_000 }, async () => {
  const world = await layOut();
  const differing = new Set<string>();
  for (const start of starts) {
    const decisionOf = await decide(world, start);
    for (const each of world.cases) {
      const decision = decisionOf(each);
      const verdict = reaperOn(await world.observer.observe(each.run, new Set()), start);
      if (kindOf(decision) === kindOfVerdict(verdict)) continue;
      const named = Object.entries(differences).filter(([, holds]) => holds(each.found, start));
      expect(named, JSON.stringify({ start, decision, verdict, ...each.found })).not.toEqual([]);
      if (named[0] !== undefined && named.length === 1) differing.add(named[0][0]);
    }
  }
  expect([...differing].toSorted(), "each shows by itself").toEqual(Object.keys(differences).toSorted());
});
