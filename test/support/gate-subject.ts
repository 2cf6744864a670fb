import { directAccess } from "../../src/files/foreign/path-operation.ts";
import type { GateSubject } from "../../src/gates/gate-answer.ts";

/** What a gate is read of: a work directory of a run that began at the beginning of time. */
export const gateSubject = (workDir: string, overrides: Partial<GateSubject> = {}): GateSubject => ({
  workDir,
  access: directAccess,
  cwd: workDir,
  env: { PATH: process.env.PATH ?? "" },
  notBeforeMs: 0,
  ...overrides,
});
