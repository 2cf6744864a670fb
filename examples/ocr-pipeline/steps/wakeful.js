// @ts-check
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { writeAtomically } from "./atomic-file.js";

/**
 * The whole contract between a step and Wakeful, which is a handful of environment variables and files.
 * Nothing here depends on a library of Wakeful: a step in any language can do the same.
 *
 * @typedef {object} StepInput
 * @property {{ key: string, pipeline: string }} item
 * @property {{ file: string, name: string }} input the source file's absolute path, and the name it came under
 * @property {unknown} previous what the previous stage returned
 */

/** How often the timer beats, in ms. */
const BEAT_EVERY_MS = 5_000;

/**
 * The timer beats for work that is slow, not for work that hangs: when nothing has moved for this long (ms) it falls
 * silent, and Wakeful's heartbeat timeout does its duty. Without this limit the timer would keep a hung step alive for ever.
 */
const SILENT_AFTER_MS = 180_000;

/** The input can never be processed. The step exits with 65, which wakeful.yaml lists under `failOn`: no second attempt. */
export class BadInputError extends Error {
  /** @override */ name = "BadInputError";
}

export class Step {
  /** @type {StepInput} */ input;
  /** @type {string} */ itemKey;
  /** @type {string} The item's own directory: results of all its stages live here. */ workDir;
  /** @type {string} */ #heartbeatFile;
  /** @type {string} */ #progressFile;
  #label = "start";
  #movedAtMs = performance.now();
  #beatFailed = false;
  /** @type {NodeJS.Timeout} */ #timer;

  /** @param {NodeJS.ProcessEnv} env */
  constructor(env) {
    // The first beat comes before anything that could take long, so that a run is heard of from its very start.
    this.#heartbeatFile = required(env, "WAKEFUL_HEARTBEAT_FILE");
    this.#beat();
    this.#timer = setInterval(() => {
      if (performance.now() - this.#movedAtMs < SILENT_AFTER_MS) this.#beat();
    }, BEAT_EVERY_MS);
    this.#timer.unref();

    this.#progressFile = required(env, "WAKEFUL_PROGRESS_FILE");
    this.workDir = path.resolve(required(env, "WAKEFUL_WORK_DIR"));
    this.itemKey = required(env, "WAKEFUL_ITEM_KEY");
    this.input = JSON.parse(readFileSync(required(env, "WAKEFUL_INPUT_FILE"), "utf8"));
  }

  /** @param {...string} parts */
  workPath(...parts) {
    return path.join(this.workDir, ...parts);
  }

  /**
   * Says that the work has moved, and to where. Beats at once.
   * @param {string} label
   */
  moved(label) {
    this.#label = label;
    this.#movedAtMs = performance.now();
    this.#beat();
  }

  /** Says that the work has moved a little: keeps the timer beating without a write of its own. */
  stillMoving() {
    this.#movedAtMs = performance.now();
  }

  /** @param {{ done: number, total: number, label: string }} progress */
  async progress(progress) {
    this.moved(progress.label);
    await writeAtomically(this.#progressFile, `${JSON.stringify(progress)}\n`, { sync: false });
  }

  stop() {
    clearInterval(this.#timer);
  }

  #beat() {
    try {
      // Only the file's modification time counts; the text is for people. So no rename is needed here.
      writeFileSync(this.#heartbeatFile, `${new Date().toISOString()} ${this.#label}\n`);
    } catch (error) {
      // A beat that cannot be written (disk full, say) must not end work that is going well. It is said once.
      if (!this.#beatFailed) console.error(`heartbeat not written: ${error instanceof Error ? error.message : String(error)}`);
      this.#beatFailed = true;
    }
  }
}

/**
 * Runs one step as a command: exit code 0 with the returned value in WAKEFUL_OUTPUT_FILE, 65 for bad input,
 * 1 for everything that may go better another time. The reason goes to stderr.
 *
 * @param {(step: Step) => Promise<unknown>} work
 */
export async function runStep(work) {
  let exitCode = 0;
  try {
    const step = new Step(process.env);
    try {
      const output = await work(step);
      await writeAtomically(required(process.env, "WAKEFUL_OUTPUT_FILE"), `${JSON.stringify(output)}\n`);
    } finally {
      step.stop();
    }
  } catch (error) {
    exitCode = error instanceof BadInputError ? 65 : 1;
    console.error(error instanceof BadInputError ? `bad input: ${error.message}` : error);
  }
  process.exit(exitCode);
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @param {string} name
 */
function required(env, name) {
  const value = env[name];
  if (value === undefined || value === "") throw new Error(`${name} is not set: this step is started by Wakeful (see README.md)`);
  return value;
}
