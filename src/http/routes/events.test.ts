import { expect, test } from "vitest";
import { apiServer } from "../../../test/support/api-server.ts";
import { asWorkerId } from "../../domain/ids.ts";
import { api } from "../../protocol/api/index.ts";
import { createClient } from "../../protocol/client.ts";

test("a stream that broke is resumed without loss, and a gap is told", async () => {
  const { server, token, services } = await apiServer();
  const client = createClient({ url: server.url, token });
  const emit = (id: number) => services.events.emit("worker.left", { workerId: asWorkerId(id) });

  const first = await openEvents();
  await first.until(/id: 3\.0/);
  emit(1);
  expect(await first.until(/"workerId":1/)).toMatch(/id: 3\.1\nevent: worker.left\n/);
  first.end();
  emit(2);
  emit(3);
  const second = await openEvents("3.1");
  expect(await second.until(/"workerId":3/)).not.toMatch(/gap|"workerId":1}/);
  second.end();
  for (const id of [4, 5, 6, 7]) emit(id);
  const third = await openEvents("3.3");
  expect(await third.until(/"workerId":7/)).toMatch(/event: gap\ndata: {"missed":1}\n\nid: 3\.5/);
  third.end();

  async function openEvents(lastEventId?: string) {
    const abort = new AbortController();
    const chunks = await client.stream(
      api.events,
      { query: { names: "worker.*" } },
      { signal: abort.signal, headers: lastEventId === undefined ? {} : { "last-event-id": lastEventId } },
    );
    const pieces = chunks[Symbol.asyncIterator]();
    let text = "";
    return {
      async until(pattern: RegExp) {
        while (!pattern.test(text)) {
          const { value, done } = await pieces.next();
          if (done === true) throw new Error(`the stream ended after ${text}`);
          text += Buffer.from(value).toString();
        }
        return text;
      },
      end: () => abort.abort(),
    };
  }
});

test("events that are not asked for are not sent", async () => {
  const { server, token, services } = await apiServer();
  const chunks = await createClient({ url: server.url, token }).stream(
    api.events,
    { query: { names: "item.*,daemon.stopped" } },
    { headers: { "last-event-id": "3.0" } },
  );
  services.events.emit("worker.left", { workerId: asWorkerId(1) });
  services.events.emit("daemon.stopped", { reason: "test", late: [], failed: [] });
  for await (const chunk of chunks) {
    expect(Buffer.from(chunk).toString()).toMatch(/^id: 3\.2\nevent: daemon.stopped/);
    break;
  }
});
