import { existsSync } from "node:fs";

/** The library that gives a program a clock of its own; undefined: it is not installed. */
export const faketimeLibrary = [
  "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
  "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
].find((path) => existsSync(path));

/** What a program's environment has so that its clock is ahead by what this file says, such as `+120` seconds. */
export const faketimeEnvironment = (library: string, file: string): Readonly<Record<string, string>> => ({
  LD_PRELOAD: library,
  FAKETIME_TIMESTAMP_FILE: file,
  FAKETIME_NO_CACHE: "1",
  FAKETIME_DONT_FAKE_MONOTONIC: "1",
});
