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
