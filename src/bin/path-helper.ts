#!/usr/bin/env node
import "./ignored-signals.ts";
import { probePlace } from "../files/foreign/foreign-place.ts";
import { answerCall, type HelperCall, type HelperWord } from "../files/foreign/helper-words.ts";
import { privateFlag } from "../files/foreign/path-helper.ts";
import type { AnyPathOperation } from "../files/foreign/path-operation.ts";
import { lookUpDevice } from "../files/path-devices.ts";
import { readSecretFile } from "../files/secrets.ts";
import { readGateFile } from "../gates/file-gate.ts";
import { archiveFile } from "../intake/duplicates.ts";
import { readFirstBytes } from "../intake/file-checks.ts";
import { isGone } from "../intake/intake-loop.ts";
import { rejectFile } from "../intake/reject-file.ts";
import { moveIn, removeLeftOriginal } from "../intake/staging.ts";
import { examineFiles, listFolder } from "../intake/watched-folder.ts";
import { keepFile, takeBackFile } from "../item-files/kept-source.ts";
import { lookForProgram } from "../processes/wrapper/find-program.ts";
import { lookAtWorkDirectory } from "../processes/wrapper/wrapper.ts";
import { systemClock } from "../runtime/clock.ts";
import { keepOwnFilesPrivate } from "../runtime/umask.ts";

const operations: readonly AnyPathOperation[] = [
  probePlace,
  readSecretFile,
  lookUpDevice,
  lookForProgram,
  lookAtWorkDirectory,
  listFolder,
  examineFiles,
  readFirstBytes,
  moveIn,
  removeLeftOriginal,
  isGone,
  rejectFile,
  archiveFile,
  keepFile,
  takeBackFile,
  readGateFile,
];

if (process.argv.includes(privateFlag)) keepOwnFilesPrivate();
const clock = systemClock();

const say = (word: HelperWord): void => {
  if (process.connected) process.send?.(word);
};
process.on("message", (call: HelperCall) => void answerCall(call, { operations, say, mono: () => clock.mono() }));
// Its daemon is gone. An exit would wait for a call that never returns.
process.on("disconnect", () => void process.kill(process.pid, "SIGKILL"));
