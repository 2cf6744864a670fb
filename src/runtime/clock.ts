import { readFileSync } from "node:fs";

/**
 * The three clocks a host has. Only this module reads them; everything else is given a {@link HostClock} or an instant.
 */
export interface HostClock {
  /** Wall time, epoch milliseconds. May step either way. */
  wall(): number;
  /** Monotonic milliseconds that stand still while the machine is suspended (`hrtime`). */
  mono(): number;
  /** Milliseconds since boot, suspend included (`/proc/uptime`); `undefined` where the platform has none. */
  boot(): number | undefined;
}

/** This host's clocks. `boot` reads `/proc/uptime` (10 ms resolution); where it cannot, it answers `undefined` and asks no more. */
export function systemClock(): HostClock {
  let bootReadable = true;
  return {
    wall: () => Date.now(),
    // Cheaper than a bigint, and the clock is read for each run.
    mono: () => {
      const [wholeSeconds, nanoseconds] = process.hrtime();
      return wholeSeconds * 1000 + nanoseconds / 1e6;
    },
    boot: () => {
      if (!bootReadable) return undefined;
      const uptime = readUptimeMs();
      bootReadable = uptime !== undefined;
      return uptime;
    },
  };
}

function readUptimeMs(): number | undefined {
  let text: string;
  try {
    text = readFileSync("/proc/uptime", "latin1");
  } catch {
    // No procfs on this platform: suspends show only as jumps of the wall, see suspend-watch.ts.
    return undefined;
  }
  const uptimeSeconds = Number.parseFloat(text);
  return Number.isFinite(uptimeSeconds) ? Math.round(uptimeSeconds * 1000) : undefined;
}
