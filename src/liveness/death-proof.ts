import type { WorkerState } from "../domain/lifecycles/worker.ts";

/** A session that said goodbye, or was buried, writes nothing more: proof of its end, where silence is none. */
export const isSessionOver = (state: WorkerState): state is "stopped" | "dead" => state === "stopped" || state === "dead";
