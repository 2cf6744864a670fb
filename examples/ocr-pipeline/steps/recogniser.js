// @ts-check
import { createRequire } from "node:module";
import path from "node:path";
import { createWorker, OEM, PSM } from "tesseract.js";

const require = createRequire(import.meta.url);
const tesseractVersion = require("tesseract.js/package.json").version;
const dataVersion = require("@tesseract.js-data/eng/package.json").version;
/** Below this confidence (0 to 100) a "word" is nearly always a piece of the drawing. */
const confidenceMin = 55;

/** Names everything that decides what is read. Words stored under another name are read again. */
export const recogniserName = `tesseract.js ${tesseractVersion}, eng ${dataVersion} best_int, psm ${PSM.SPARSE_TEXT}, confidence ${confidenceMin}`;

/**
 * Starts the OCR engine in a thread of its own, so that this one stays free to beat. Engine and language data come from
 * node_modules; nothing is fetched, and nothing is cached in the working folder.
 *
 * @param {{ onMove: () => void }} options `onMove` is called whenever the engine reports that it got further
 */
export async function startRecogniser({ onMove }) {
  const worker = await createWorker("eng", OEM.LSTM_ONLY, {
    langPath: path.join(path.dirname(require.resolve("@tesseract.js-data/eng/package.json")), "4.0.0_best_int"),
    cacheMethod: "none",
    logger: onMove,
    // Without a handler the library throws the error a second time, outside of the promise that already carries it.
    errorHandler: () => {},
  });
  // Speech bubbles are islands of text in a drawing, not columns of a book: sparse text finds them, page layout does not.
  await worker.setParameters({ tessedit_pageseg_mode: PSM.SPARSE_TEXT, user_defined_dpi: "170" });

  return {
    /**
     * @param {Buffer} image
     * @returns {Promise<import("./pages.js").Word[][]>} the words, line by line
     */
    async read(image) {
      const { data } = await worker.recognize(image, {}, { text: false, blocks: true });
      return (data.blocks ?? [])
        .flatMap((block) => block.paragraphs)
        .flatMap((paragraph) => paragraph.lines)
        .map((line) => line.words.filter(isText).map((word) => ({ text: word.text, ...word.bbox })))
        .filter((words) => words.length > 0);
    },
    async stop() {
      await worker.terminate();
    },
  };
}

/** @param {{ text: string, confidence: number }} word */
function isText(word) {
  return word.confidence >= confidenceMin && /[\p{L}\p{N}]/u.test(word.text);
}
