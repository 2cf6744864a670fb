import { expect, test } from "vitest";
import { asRunId, type RunId } from "../../domain/ids.ts";
import { asInstant } from "../../domain/time.ts";
import { BeatBuffer } from "./beat-buffer.ts";

const [one, two] = [asRunId(1), asRunId(2)];

function beatBuffer(answers: (readonly RunId[] | Error)[] = []) {
  let now = 0;
  const written: unknown[] = [];
  const lost: RunId[] = [];
  const made = new BeatBuffer({
    now: () => asInstant(++now),
    beat: async (beats) => {
      written.push(beats);
      const answer = answers.shift() ?? [];
      if (answer instanceof Error) throw answer;
      return answer;
    },
    emit: () => undefined,
    gatherMs: 3_600_000,
  });
  made.onLost((runId) => lost.push(runId));
  return { made, written, lost };
}

test("the newest beat of each run is written, with the newest progress shown", async () => {
  const { made, written, lost } = beatBuffer([[two]]);
  made.beat(one, "0.5");
  made.beat(two, undefined);
  made.beat(one, undefined);
  await made.flush();
  expect(written).toEqual([
    [
      { runId: one, at: 3, progress: "0.5" },
      { runId: two, at: 2 },
    ],
  ]);
  expect(lost).toEqual([two]);
  await made.flush();
  expect(written).toHaveLength(1);
});

test("a beat that could not be written is written later, unless a newer one has come", async () => {
  const { made, written } = beatBuffer([new Error("disk full")]);
  made.beat(one, "1");
  made.beat(two, "1");
  const failing = made.flush();
  made.beat(one, "2");
  await failing;
  await made.flush();
  made.stop();
  expect(written[1]).toEqual([
    { runId: one, at: 3, progress: "2" },
    { runId: two, at: 2, progress: "1" },
  ]);
});
