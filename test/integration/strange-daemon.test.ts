import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestDaemon } from "../support/daemon.ts";
import { tempDir } from "../support/temp-dir.ts";
import { bundleWakeful, startWakeful } from "../support/wakeful-program.ts";

let program: string;
let remove: () => void;
beforeAll(async () => {
  ({ program, remove } = await bundleWakeful());
});
afterAll(() => remove());

/** A project whose address another project's daemon has taken. */
async function projectBesideAnother() {
  const { daemon, folder: other } = await startTestDaemon({ yaml: "dataDir: ./data\n" });
  const folder = tempDir("project");
  const address = new URL(daemon.url).host;
  writeFileSync(join(folder, "wakeful.yaml"), `http: { listen: "${address}" }\n`);
  const call = async (...argv: string[]): Promise<{ readonly code: number | string; readonly out: string; readonly err: string }> => {
    const called = startWakeful(program, argv, { cwd: folder });
    const code = await called.ended;
    return { code, out: called.out(), err: called.err() };
  };
  return { call, address, other };
}

test("another project's daemon at the same address is not taken for this one's", async () => {
  const { call, address, other } = await projectBesideAnother();
  const run = await call("run", "--", "sh", "-c", "echo ran; exit 3");
  expect(run).toMatchObject({ code: 3, out: "ran\n", err: expect.stringContaining("this project's is not running") });
  const cancel = await call("cancel", "job:1");
  expect(cancel).toMatchObject({ code: 7, err: expect.stringContaining(`http://${address} (another project's daemon answers there)`) });
  expect(cancel.err).toContain("--listen");
  const up = await call("up");
  expect(up).toMatchObject({
    code: 7,
    err: expect.stringContaining(`Cannot listen on ${address}: a Wakeful daemon of another data directory`),
  });
  expect(up.err).toContain("http.listen");
  for (const { err } of [run, cancel, up]) expect(err).not.toContain(other);
  // Now the data directory exists with its own id, and the other daemon is still a stranger's.
  expect(await call("ls", "jobs")).toMatchObject({ code: 0, err: expect.stringContaining("another project's daemon answers") });
});
