import fc from "fast-check";

/** Draws the same cases in every run, so that a mutant which survives one run survives the next. */
fc.configureGlobal({ seed: 1 });
