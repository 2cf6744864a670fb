import { spawnSync } from "node:child_process";
import { closeSync, openSync, renameSync } from "node:fs";
import type { EndFault, Fault, Scene } from "../fault.ts";
import type { ItemOffer } from "../load.ts";
import { look } from "../observe.ts";
import { mountShare, placesOf, unmount } from "../places.ts";
import { setUps } from "../set-up.ts";

/** Items of a pipeline that needs the path: they wait for it, and are charged for nothing. */
function submitSome({ load, chance }: Scene, pipeline: ItemOffer["pipeline"]): void {
  for (let at = 0; at < 5; at += 1) load.item({ pipeline, ms: chance.whole(50, 300) });
}

/** A stage's secret cannot be read for a while. */
export const missingSecret: Fault = {
  name: "missing-secret",
  rows: ["F-8.4"],
  setUps,
  needs: [],
  hits: ["load"],
  lastsMs: [1500, 2500],
  begin: async (scene): Promise<EndFault> => {
    const { secret } = placesOf(scene.world.folder);
    renameSync(secret, `${secret}.away`);
    submitSome(scene, "secret");
    return async () => renameSync(`${secret}.away`, secret);
  },
};

/** The share that a stage's program lies on is not mounted for a while: its folder is there, and is empty. */
export const unmountedShare: Fault = {
  name: "unmounted-share",
  rows: ["F-8.4"],
  setUps,
  needs: ["root", "mount"],
  hits: ["load"],
  lastsMs: [1500, 2500],
  begin: async (scene): Promise<EndFault> => {
    const { share } = placesOf(scene.world.folder);
    unmount(share);
    submitSome(scene, "share");
    return async () => mountShare(scene.world.folder);
  },
};

/** The share that a stage's secret is on never answers. What needs no share goes on meanwhile. */
export const hungShare: Fault = {
  name: "hung-share",
  rows: ["F-8.5"],
  setUps,
  needs: ["root", "mount", "fuse"],
  hits: ["load"],
  lastsMs: [4000, 5000],
  begin: async (scene): Promise<EndFault> => {
    const { hung } = placesOf(scene.world.folder);
    // Nobody reads the requests that the kernel writes to this descriptor.
    const device = openSync("/dev/fuse", "r+");
    const options = "fd=3,rootmode=40000,user_id=0,group_id=0";
    const mounted = spawnSync("mount", ["-i", "-t", "fuse", "-o", options, "wakeful-bench", hung], {
      stdio: ["ignore", "ignore", "pipe", device],
    });
    if (mounted.status !== 0) {
      closeSync(device);
      throw new Error(`nothing can be mounted by FUSE: ${mounted.stderr.toString().trim()}`);
    }
    submitSome(scene, "hung");
    const others = [scene.load.task({ task: "work", payload: { ms: 0 } }), scene.load.item({ pipeline: "probes", ms: 1 })];
    return async () => {
      const begun = new Set(scene.world.ledger.read().map(({ job }) => job));
      for (const other of others) {
        const { accepted } = await look(scene.world.speaker.client, other);
        if (!accepted.jobs.some((job) => begun.has(job))) scene.find(`${accepted.name} needs no share, and did not start while one hung`);
      }
      // The kernel answers with an error from now on.
      closeSync(device);
      unmount(hung);
    };
  },
};
