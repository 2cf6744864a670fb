import { spanText } from "../../domain/durations.ts";
import { relativeText } from "../../domain/instant-text.ts";
import { asInstant, clockAheadMaxMs } from "../../domain/time.ts";
import { holdsBackMany, isOverdueTransaction, type ReaderLimits } from "../../liveness/old-readers.ts";
import { costText, mebibytesText } from "../../observe/old-readers.ts";
import type { LoopWire } from "../../protocol/api/loops.ts";
import type { StoreCheckWire } from "../../protocol/api/status.ts";
import { type DoctorFinding, ok, problem, warning } from "./finding.ts";

/** A loop that has not ended a tick for so many of its periods is stuck. */
const periodsMax = 5;

export function checkStored(found: StoreCheckWire, wall: number, limits: ReaderLimits): readonly DoctorFinding[] {
  return [
    ...integrity(found),
    ...oldReaders(found, limits),
    clock(found, wall),
    ...outbox(found),
    ...found.unstoppable.map((job) => unstoppable(job, found.now)),
  ];
}

/** Of a daemon by its pid, as it sees it itself. Node waits only for what it has started. */
export function checkInit(pid: number): readonly DoctorFinding[] {
  if (pid !== 1) return [];
  return [
    warning(
      "init",
      "the daemon is the first process of its container: what ends without a parent stays as a zombie, until no process can be started any more",
      "Start the container with an init: `docker run --init`, `init: true` in a compose file, or tini as its entry point.",
    ),
  ];
}

/** It keeps its slot and its leases until somebody acts, so it may hold up a whole stage. */
function unstoppable({ jobId, attempt, attemptOf, stopBy, remains }: StoreCheckWire["unstoppable"][number], now: number): DoctorFinding {
  return problem(
    `job ${jobId}`,
    `it waits for attempt ${attempt} of job ${attemptOf}, which should have been stopped ${relativeText(asInstant(stopBy), asInstant(now))}, and is not proved to be${remains === null ? "" : `: ${remains}`}`,
    `End by hand what is left of it: whoever holds runs/<run>/alive open is one of its processes (\`wakeful why job:${jobId}\`). Or, when you know that they do no harm, \`wakeful unhold job:${jobId} --force\`.`,
  );
}

function integrity({ integrity: pages, breaches, sizeBytes }: StoreCheckWire): DoctorFinding[] {
  const findings: DoctorFinding[] = [];
  if (pages.length > 0) {
    findings.push(
      problem(
        "store",
        `its pages contradict each other: ${pages.slice(0, 3).join("; ")}`,
        "Stop the daemon, keep the file, and restore the newest backup.",
      ),
    );
  }
  for (const { rule, subject, found } of breaches.slice(0, 20)) {
    findings.push(
      problem(
        "invariants",
        `${rule}: ${subject}: ${found}`,
        "This is a defect: report it with this line. `wakeful why` of the thing may tell more.",
      ),
    );
  }
  if (breaches.length > 20) findings.push(problem("invariants", `and ${breaches.length - 20} more`, "Report them as well."));
  return findings.length > 0 ? findings : [ok("store", `sound, every invariant holds (${Math.ceil(sizeBytes / 1024)} KiB)`)];
}

/** Whoever reads an old state; a problem beyond the limits at which people are told. */
function oldReaders({ oldReaders: { logBytes, logHeld, readers } }: StoreCheckWire, limits: ReaderLimits): DoctorFinding[] {
  const check = "old readers";
  const findings = readers.map((reader): DoctorFinding => {
    const { who, transactions, remedy } = reader;
    if (logBytes !== null) {
      const text = `${who} reads an old state of the store, whose log has grown to ${mebibytesText(logBytes)}`;
      return logHeld && logBytes > limits.alertLogBytes ? problem(check, text, remedy) : warning(check, text, remedy);
    }
    const open = { ...reader, transactions: transactions ?? 0 };
    const text = `${who} keeps ${open.catalogOnly ? "the server's catalogue" : "rows"} from being vacuumed: ${costText(reader)}`;
    // Of unknown age: how much it holds back decides.
    if (isOverdueTransaction(open, limits, limits.alertAfterMs)) return problem(check, text, remedy);
    return holdsBackMany(open) ? warning(check, text, remedy) : ok(check, text);
  });
  if (findings.length > 0) return findings;
  return [ok(check, logBytes === null ? "none" : `none, the log has ${mebibytesText(logBytes)}`)];
}

function clock({ newestAt }: StoreCheckWire, wall: number): DoctorFinding {
  if (newestAt === null || newestAt <= wall + clockAheadMaxMs) return ok("clock", "no stored instant is ahead of this host's clock");
  return problem(
    "clock",
    `the newest stored instant is ${relativeText(asInstant(newestAt), asInstant(wall))}: a clock was wrong once, or is now`,
    "Set this host's clock right first. If the store's instants are the wrong ones, stop the daemon and run `wakeful doctor --reset-clock`; until then ages stand still.",
  );
}

function outbox({ outboxWaiting, outboxDead }: StoreCheckWire): DoctorFinding[] {
  const [first] = outboxDead;
  if (first !== undefined) {
    return [
      problem(
        "outbox",
        `${outboxDead.length} deliveries were given up, the first ${first.kind} ${first.key}: ${first.error ?? "no error on record"}`,
        "Mend the target; the same alert or state is delivered when it next changes.",
      ),
    ];
  }
  return [
    outboxWaiting > 1000
      ? warning(
          "outbox",
          `${outboxWaiting} deliveries wait`,
          "Look whether their targets answer: `wakeful ls loops` shows the outbox's last error.",
        )
      : ok("outbox", `${outboxWaiting} deliveries wait`),
  ];
}

export function checkLoops(loops: readonly LoopWire[], now: number): readonly DoctorFinding[] {
  const findings = loops.flatMap((loop): DoctorFinding[] => {
    const check = `loop ${loop.name}`;
    if (!loop.enabled)
      return [
        warning(
          check,
          "is switched off",
          `Its kill switch is loops.${loop.name}.enabled${loop.name === "job-reaper" ? " or reaper.enabled" : ""}.`,
        ),
      ];
    const silentMs = loop.lastRunAt === null ? undefined : Math.max(0, now - loop.lastRunAt);
    if (silentMs !== undefined && silentMs > Math.max(periodsMax * loop.intervalMs, 10_000)) {
      return [
        problem(
          check,
          `has not ended a tick for ${spanText(silentMs)}, every ${spanText(loop.intervalMs)} is its rule`,
          "Look into the daemon's log for this loop; restart the daemon if it stays so (running commands live on).",
        ),
      ];
    }
    if (loop.lastError !== null && (loop.lastSuccessAt === null || (loop.lastRunAt ?? 0) > loop.lastSuccessAt)) {
      return [problem(check, `its last tick failed: ${loop.lastError}`, "Mend what the message names; the loop goes on by itself.")];
    }
    return [];
  });
  return findings.length > 0 ? findings : loops.length === 0 ? [] : [ok("loops", `${loops.length} loops tick`)];
}
