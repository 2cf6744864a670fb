import type { FastifyInstance } from "fastify";
import { api } from "../../protocol/api/index.ts";
import type { EventHistory, NumberedEvent } from "../event-history.ts";
import { mountStream } from "../mount.ts";

/** A client that reads slower than things happen is cut off before it costs memory; it resumes where it was. */
const waitingBytesMax = 1024 * 1024;
/** Often enough that a proxy with the usual minute of patience keeps the connection. */
const keepAliveMs = 15_000;

export function eventRoutes(app: FastifyInstance, history: EventHistory): void {
  mountStream(app, api.events, ({ query }, request, reply) => {
    const wanted = nameFilter(query.names);
    // A reply is thenable, and this one is never answered by Fastify.
    // oxlint-disable-next-line typescript/no-floating-promises
    reply.hijack();
    const out = reply.raw;
    out.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "x-accel-buffering": "no",
    });
    // The first event may be long in coming, but a client must learn at once that it is connected.
    out.flushHeaders();
    const send = ({ id, event }: NumberedEvent): void => {
      if (!wanted(event.name)) return;
      out.write(`id: ${id}\nevent: ${event.name}\ndata: ${JSON.stringify({ at: event.at, ...event.data })}\n\n`);
      if (out.writableLength > waitingBytesMax) out.destroy();
    };
    const lastEventId = request.headers["last-event-id"];
    const missed = typeof lastEventId === "string" ? history.since(lastEventId) : undefined;
    // The id comes first, so that a client that disconnects before any event still resumes from here. Without `event:` it fires nothing.
    if (missed === undefined) out.write(`retry: 1000\nid: ${history.newestId}\n\n`);
    if (missed?.gap !== undefined) out.write(`event: gap\ndata: ${JSON.stringify(missed.gap)}\n\n`);
    for (const event of missed?.events ?? []) send(event);
    const stop = history.listen(send);
    const keepAlive = setInterval(() => out.write(": still here\n\n"), keepAliveMs);
    keepAlive.unref();
    out.once("close", () => {
      stop();
      clearInterval(keepAlive);
    });
  });
}

/** `run.*,job.held`: exact names, or beginnings that end in `*`. */
function nameFilter(names: string | undefined): (name: string) => boolean {
  if (names === undefined) return () => true;
  const patterns = names.split(",").map((each) => each.trim());
  return (name) => patterns.some((pattern) => (pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern));
}
