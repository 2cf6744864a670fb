import { expect, test } from "vitest";
import type { JobChange } from "../../src/liveness/retry-contract.ts";
import type { Failure, Settled, Success } from "../../src/store/port/runs.ts";
import type { RunEnding, WorkerBackend } from "../../src/worker/worker-backend.ts";
import { present } from "../support/present.ts";
import { day, fenceOf, readingOf, reportOf, returned, serviceWorld } from "../support/service-world.ts";
import { processOn } from "../support/store-rows.ts";
import { describeStores } from "../support/stores.ts";
import { throughPipe } from "../support/worker-doors.ts";

/** Members of a settlement that a report has too: what the worker saw. */
type Seen = "runId" | "ownerEpoch" | "jobId" | "reason" | "message" | "evidence" | "output" | "exitCode" | "startedAt";

/** All else of a settlement and its answer is decided behind the service. A member that is added there is missing here, or in {@link Seen}. */
const decided: Readonly<
  Record<Exclude<keyof Success | keyof Failure | keyof JobChange, Seen> | Exclude<keyof Settled, "kind" | "item">, true>
> = {
  outcome: true,
  disposition: true,
  bySessionDeath: true,
  retry: true,
  advance: true,
  stopBy: true,
  actor: true,
  jobState: true,
  replaced: true,
  to: true,
  runAt: true,
  spent: true,
  attempts: true,
  losses: true,
  lastLossAt: true,
  alert: true,
};

/** Every name in `value`, but for those of a stage's declaration, which is the reader's own file. */
function namesIn(value: unknown): readonly string[] {
  if (typeof value !== "object" || value === null) return [];
  if (Array.isArray(value)) return value.flatMap(namesIn);
  return Object.entries(value).flatMap(([name, member]) => (name === "stage" ? [name] : [name, ...namesIn(member)]));
}

const endings: readonly RunEnding[] = [
  returned,
  { kind: "threw", message: "no", permanent: false },
  { kind: "threw", message: "never", permanent: true },
  { kind: "bad_output", why: "not JSON" },
  { kind: "timed_out", afterMs: 5000 },
  { kind: "released", why: "the worker is draining" },
];

describeStores((open) => {
  test("no frame of the pipe holds a settlement: how runs ended crosses it, and what follows does not", async () => {
    const frames: string[] = [];
    const gate = { kind: "file", path: "green", anyAge: true } as const;
    const world = await serviceWorld(open, (service) => throughPipe(service, (frame) => frames.push(frame)), { gate });
    const item = await world.addItem("p");
    await world.addItem("c");
    await world.enqueue(endings.length);

    const handler = await world.worker();
    const tasks = await handler.claim("t");
    expect(await handler.end(...endings.map((ending, index) => reportOf(present(tasks[index]), ending)))).toHaveLength(endings.length);
    expect(await handler.end(reportOf(present(tasks[0]), returned), reportOf(present(tasks[1]), returned))).toMatchObject([
      { kind: "already" },
      { kind: "lost" },
    ]);
    const run = present((await handler.claim("p/prep"))[0]);
    await handler.end(reportOf(run, returned));
    await handler.backend.reading(handler.workerId, readingOf(run, world.store.now(), { gate: { kind: "green" } }));
    expect(await world.store.items.get(item.id)).toMatchObject({ stage: "ocr" });

    const command = await world.worker({ kind: "command" });
    const of = present((await command.claim("c/prep"))[0]);
    const process = processOn();
    await command.backend.start(command.workerId, [{ ...fenceOf(of), startedAt: world.store.now(), wrapper: process, limits: day }]);
    await command.backend.command(command.workerId, { ...fenceOf(of), process });
    await command.backend.beat(command.workerId, [{ runId: of.runId, at: world.store.now(), progress: "0.5" }]);
    await command.backend.renew({ workerId: command.workerId, held: [of.runId], claimSeqReceived: 1 });
    const adopter = await world.worker({ kind: "command" });
    const adopted = present(await adopter.backend.adopt(adopter.workerId, { ...fenceOf(of), reason: "its supervisor is dead" }));
    const taken = { runId: of.runId, ownerEpoch: adopted.ownerEpoch };
    await adopter.end(reportOf(taken, { kind: "exited", exitCode: 3 }));
    await adopter.backend.reading(adopter.workerId, readingOf(taken, world.store.now(), { straysLeft: true }));
    expect(await world.run(of.runId)).toMatchObject({ state: "ended", outcome: "failed" });
    await adopter.backend.drain(adopter.workerId);
    await adopter.backend.leave(adopter.workerId);

    const read = frames.map((frame) => JSON.parse(frame) as { readonly verb?: keyof WorkerBackend });
    const verbs = [...new Set(read.flatMap(({ verb }) => (verb === undefined ? [] : [verb])))].sort();
    expect(verbs).toEqual(["adopt", "beat", "claim", "command", "drain", "end", "hello", "leave", "reading", "renew", "start"]);
    expect(read.filter(({ verb }) => verb === undefined).length, "each call is answered").toBe(read.length / 2);
    expect(read.filter((frame) => namesIn(frame).some((name) => Object.hasOwn(decided, name)))).toEqual([]);
  });
});
