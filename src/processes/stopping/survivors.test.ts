import { expect, test } from "vitest";
import { asHostId } from "../../domain/ids.ts";
import type { NamedProcess } from "./pipe-holders.ts";
import { type Remains, remainsText } from "./survivors.ts";

const named = (pid: number, command?: string): NamedProcess => ({
  process: { hostId: asHostId("h"), bootId: "b", pidNamespace: "n", pid, startTime: "1" },
  command,
});
const heldPipe = "/data/runs/5/alive";
const remains = (changes: Partial<Remains> = {}): Remains => ({ survivors: [], heldPipe, pipe: undefined, ...changes });

test.each<[string, Remains, string]>([
  ["one process", remains({ survivors: [named(42, "sleep 600")] }), "pid 42 (sleep 600) lives on"],
  [
    "many processes",
    remains({ survivors: [1, 2, 3, 4, 5, 6, 7].map((pid) => named(pid)) }),
    "pid 1, pid 2, pid 3, pid 4, pid 5 and 2 more live on",
  ],
  [
    "others that hold its pipe",
    remains({ pipe: { holders: [named(7, "a")], strangers: [named(8, "b")], unseen: [] } }),
    "its life pipe /data/runs/5/alive is held by pid 7 (a), pid 8 (b), which are left alone: another's, or not begun by this run",
  ],
  [
    "processes that may not be looked into",
    remains({ pipe: { holders: [], strangers: [], unseen: [named(9, "sudo x")] } }),
    "its life pipe /data/runs/5/alive is held by something whose open files may not be seen from here, maybe pid 9 (sudo x); `fuser -v /data/runs/5/alive`, called as root, names it",
  ],
  [
    "nothing that can be seen",
    remains(),
    "its life pipe /data/runs/5/alive is held by something that cannot be seen from here; `fuser -v /data/runs/5/alive`, called as root, names it",
  ],
  ["nothing at all", remains({ heldPipe: undefined }), "nothing of it is to be seen"],
])("what is left of a run is told: %s", (_case, of, text) => {
  expect(remainsText(of)).toBe(text);
});
