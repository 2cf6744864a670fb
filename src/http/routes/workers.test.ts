import { expect, test } from "vitest";
import { apiDaemon } from "../../../test/support/api-daemon.ts";
import { asHostId } from "../../domain/ids.ts";
import { PausedWorkers } from "../../operations/paused-workers.ts";

test("a worker is paused by any of its sessions until it is resumed, also another daemon's; an application's asks nobody", async () => {
  const { request, services } = await apiDaemon();
  const { store } = services;
  const process = { hostId: asHostId("h"), bootId: "b", pidNamespace: "n", pid: 5, startTime: "9" };
  const register = (name: string) => store.workers.register({ name, kind: "command", process, concurrency: 1, queues: [] });
  const [id, elsewhere, application] = [await register("commands@a"), await register("handlers@b"), await register("embedded@c")];
  const ask = async (verb: string, workerId: number) =>
    (await request("POST", `/v1/${verb}`, { body: { target: { kind: "worker", id: workerId } } })).body;
  expect([await ask("pause", id), await ask("pause", id)]).toEqual([{ changed: 1 }, { changed: 0 }]);
  const again = await register("commands@a");
  const shown = async () => {
    const { workers } = (await request("GET", "/v1/workers")).body as { workers: { id: number; paused: boolean }[] };
    return new Map(workers.map(({ id: workerId, paused }) => [workerId, paused]));
  };
  expect(await shown()).toMatchObject(
    new Map([
      [id, true],
      [again, true],
      [elsewhere, false],
      [application, false],
    ]),
  );
  expect((await PausedWorkers.open(store.upkeep)).has({ name: "commands@a", process })).toBe(true);
  expect(await ask("resume", again)).toEqual({ changed: 1 });
  expect((await shown()).get(id)).toBe(false);
  expect(await ask("pause", elsewhere)).toEqual({ changed: 1 });
  expect((await ask("pause", application)).error).toMatchObject({ code: "conflict", message: expect.stringContaining("pause its queues") });
  expect((await ask("pause", 99)).error.code).toBe("not_found");
  expect(await store.actions.list({ workerId: id, limit: 5 })).toMatchObject([{ action: "worker.paused" }]);
});
