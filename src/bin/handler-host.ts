#!/usr/bin/env node
import { isMainThread, parentPort, workerData } from "node:worker_threads";
import { systemClock } from "../runtime/clock.ts";
import { newClientId } from "../runtime/entropy.ts";
import { environment } from "../runtime/environment.ts";
import type { PresenceData } from "../worker/handler-host/host-protocol.ts";
import { onIgnoredSignal } from "./ignored-signals.ts";

const clock = systemClock();
const monoNow = (): number => clock.mono();
const wallNow = (): number => clock.wall();

if (isMainThread) {
  // Once the daemon is gone nobody reads what handlers print; they are stopped by the end of their other pipe.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
  onIgnoredSignal((signal) => process.stderr.write(`${signal} does nothing here: handlers are stopped by their daemon.\n`));
  const { runHandlerHost } = await import("../worker/handler-host/handler-host.ts");
  runHandlerHost({
    threadUrl: new URL(import.meta.url),
    monoNow,
    wallNow,
    newId: newClientId,
    environment: environment(),
    exit: (code) => process.exit(code),
    onSignal: (signal, listener) => process.on(signal, listener),
  });
} else if (parentPort !== null) {
  const { PresenceThread } = await import("../worker/handler-host/presence-thread.ts");
  // A thread cannot end its process cleanly, and is asked to only after the clean way failed.
  const kill = (): void => {
    process.kill(process.pid, "SIGKILL");
  };
  new PresenceThread({ data: workerData as PresenceData, port: parentPort, monoNow, wallNow, kill }).start();
}
