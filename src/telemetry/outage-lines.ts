import type { EmittedEvent } from "./events.ts";

/** How often an outage of the store is told while it lasts. */
const againMs = 60_000;

/** What the store's own errors about a server say, whoever passes them on (`store/postgres/failures.ts`). */
const aboutServer = /(?:does not answer|only answers reads now|no answer to a renewal)/;

/**
 * Lets one line of an outage through at its beginning and one a minute, with the number of the others: each loop and worker meets it by
 * itself, several times a second. Its end is an event of its own.
 */
export function onceAMinute(write: (event: EmittedEvent) => void): (event: EmittedEvent) => void {
  let toldAt = Number.NEGATIVE_INFINITY;
  let leftOut = 0;
  return (event) => {
    if (event.name === "store.recovered") {
      toldAt = Number.NEGATIVE_INFINITY;
      leftOut = 0;
    }
    if (!isOutage(event)) {
      write(event);
      return;
    }
    if (Math.abs(event.at - toldAt) < againMs) {
      leftOut += 1;
      return;
    }
    const message = leftOut === 0 ? event.data.message : `${event.data.message} (${leftOut} more like it since the last line)`;
    toldAt = event.at;
    leftOut = 0;
    write({ ...event, data: { ...event.data, message } } as EmittedEvent);
  };
}

type Outage = EmittedEvent & { readonly name: "store.degraded" | "loop.failed" | "loop.subject_failed" };

function isOutage(event: EmittedEvent): event is Outage {
  const { name } = event;
  if (name !== "store.degraded" && name !== "loop.failed" && name !== "loop.subject_failed") return false;
  return aboutServer.test(event.data.message);
}
