import { expect, test } from "vitest";
import { blameForStart, isHostWide, remedyForStart, type StartStep } from "./start-blame.ts";

const blame = (step: StartStep | undefined, code: string | undefined, otherDevice = false) => blameForStart({ step, code, otherDevice });

test.each(["ENOENT", "ENOTDIR", "EACCES", "ENOEXEC", "E2BIG", "ELOOP", "EINVAL", "ENAMETOOLONG"])(
  "%s of a program or a working directory is the job's own",
  (code) => {
    expect([blame("program", code), blame("cwd", code)]).toEqual(["job", "job"]);
  },
);

test.each(["ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "EAGAIN", "ENOMEM", "EIO", "ESTALE", "ENOTCONN", "EROFS", "ETXTBSY", undefined])(
  "%s is the machine's at every step, and no answer is too",
  (code) => {
    const steps = ["program", "cwd", "secret", "run_folder", "work_dir", "shell"] as const;
    expect(steps.map((step) => blame(step, code))).toEqual(steps.map(() => "machine"));
  },
);

test("on another device than at the start nothing that is missing is the job's own: its share is not mounted", () => {
  expect([blame("program", "ENOENT", true), blame("cwd", "ENOENT", true)]).toEqual(["machine", "machine"]);
  expect(remedyForStart({ step: "cwd", code: "ENOENT", otherDevice: true })).toMatch(/^Mount the share again/);
});

test("a secret is never the job's own, whatever is wrong with it", () => {
  for (const code of ["ENOENT", "EACCES", "EISDIR", undefined]) expect(blame("secret", code)).toBe("machine");
});

test("our own folders and shell are the machine's, save for arguments that are too long for it", () => {
  expect([blame("run_folder", "ENOENT"), blame("shell", "ENOENT"), blame("work_dir", "EACCES")]).toEqual(["machine", "machine", "machine"]);
  expect([blame("shell", "E2BIG"), blame("run_folder", "E2BIG")]).toEqual(["job", "job"]);
});

test("an error that is of no step is ours", () => {
  expect(blame(undefined, undefined)).toBe("ours");
  expect(remedyForStart({ step: undefined, code: undefined, otherDevice: false })).toMatch(/defect/);
});

test("what every stage needs holds back the whole host, and what one stage needs that stage", () => {
  expect(["shell", "run_folder", "work_dir"].map((step) => isHostWide({ step: step as StartStep, code: undefined }))).toEqual([
    true,
    true,
    true,
  ]);
  expect(["secret", "cwd", "program"].map((step) => isHostWide({ step: step as StartStep, code: "EACCES" }))).toEqual([
    false,
    false,
    false,
  ]);
  for (const code of ["EMFILE", "ENFILE", "EAGAIN", "ENOMEM"]) expect(isHostWide({ step: "secret", code })).toBe(true);
});

test("each cause has a remedy that says what to do", () => {
  for (const code of ["ENOSPC", "EDQUOT", "EMFILE", "EAGAIN", "ENOMEM", "EROFS", "EIO", "ESTALE"])
    expect(remedyForStart({ step: "run_folder", code, otherDevice: false })).toMatch(/^[A-Z].+\.$/);
  const plain = (step: StartStep) => remedyForStart({ step, code: undefined, otherDevice: false });
  expect([plain("secret"), plain("shell"), plain("cwd")]).toEqual([
    expect.stringContaining("regular file"),
    expect.stringContaining("ulimit -u"),
    expect.stringContaining("wakeful doctor"),
  ]);
});
