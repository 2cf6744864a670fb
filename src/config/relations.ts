import { formatDuration } from "../domain/durations.ts";
import { seconds } from "../domain/time.ts";
import type { Config } from "./config.ts";
import type { Finding } from "./mistake.ts";

/** A shorter heartbeat timeout is meant for tests, not for production. */
const heartbeatTimeoutMsMin = seconds(60);
/** Renewals carry progress to the store, so fewer than this within a timeout would look like silence. */
export const renewalsPerHeartbeatTimeout = 3;
const renewalsBeforeFencing = 3;

type Related = Pick<Config, "worker" | "stop" | "heartbeat" | "dev">;

/** Broken relations between settings, one finding each, with the numbers of both sides. */
export function brokenRelations({ worker, stop, heartbeat, dev }: Related): Finding[] {
  const findings: Finding[] = [];
  const expect = (holds: boolean, key: string, value: number, rule: string): void => {
    if (!holds) findings.push({ path: key.split("."), value, rule });
  };
  const show = formatDuration;

  expect(
    renewalsBeforeFencing * worker.renewMs <= worker.selfFenceAfterMs,
    "worker.selfFenceAfterMs",
    worker.selfFenceAfterMs,
    `must be at least ${renewalsBeforeFencing} x worker.renewMs (${show(renewalsBeforeFencing * worker.renewMs)}): one late renewal must not count as being cut off`,
  );
  const fencedMs = worker.selfFenceAfterMs + stop.stopGraceMs + stop.killGraceMs + worker.renewTimeoutMs;
  expect(
    fencedMs < worker.deadAfterMs,
    "worker.deadAfterMs",
    worker.deadAfterMs,
    `must be greater than worker.selfFenceAfterMs + stop.stopGraceMs + stop.killGraceMs + worker.renewTimeoutMs (${show(fencedMs)}): a worker that is cut off must have had the time to let go before its jobs go to another`,
  );
  expect(
    worker.fenceKillAfterMs > worker.selfFenceAfterMs,
    "worker.fenceKillAfterMs",
    worker.fenceKillAfterMs,
    `must be greater than worker.selfFenceAfterMs (${show(worker.selfFenceAfterMs)})`,
  );
  expect(
    worker.outstandingMax >= worker.concurrency,
    "worker.outstandingMax",
    worker.outstandingMax,
    `must be at least worker.concurrency (${worker.concurrency}): each handler at work is one of the runs that it bounds`,
  );
  expect(
    dev || heartbeat.timeoutMs >= heartbeatTimeoutMsMin,
    "heartbeat.timeoutMs",
    heartbeat.timeoutMs,
    `must be at least ${show(heartbeatTimeoutMsMin)} (JOB_TIMEOUT_SECONDS=60): shorter ones take working stages for hung; --dev allows them`,
  );
  expect(
    renewalsPerHeartbeatTimeout * worker.renewMs <= heartbeat.timeoutMs,
    "heartbeat.timeoutMs",
    heartbeat.timeoutMs,
    `must be at least ${renewalsPerHeartbeatTimeout} x worker.renewMs (${show(renewalsPerHeartbeatTimeout * worker.renewMs)}): progress is reported with the renewals`,
  );
  return findings;
}

const loopback: ReadonlySet<string> = new Set(["localhost", "::1"]);

/** What is allowed but probably not meant. */
export function doubtfulSettings(config: Pick<Config, "http" | "reaper">): Finding[] {
  const findings: Finding[] = [];
  const { host } = config.http.listen;
  if (!loopback.has(host) && !host.startsWith("127.")) {
    findings.push({
      path: ["http", "listen"],
      value: host,
      rule: "lets other machines reach the API; only tokens protect them, so put TLS in front",
    });
  }
  if (!config.reaper.enabled) {
    findings.push({
      path: ["reaper", "enabled"],
      value: false,
      rule: "leaves runs of dead processes and dead sessions in running until it is true again, or the daemon is started anew",
    });
  }
  return findings;
}
