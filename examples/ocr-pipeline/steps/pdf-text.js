// @ts-check
import { getDocument, VerbosityLevel } from "pdfjs-dist/legacy/build/pdf.mjs";

/**
 * The text of each page of a PDF, as a reader would copy it.
 *
 * @param {Uint8Array} bytes
 * @returns {Promise<string[]>}
 * @throws when the bytes are not a PDF that can be opened
 */
export async function extractPageTexts(bytes) {
  // The library takes the array over for its own use, so it gets a copy.
  const task = getDocument({
    data: new Uint8Array(bytes),
    verbosity: VerbosityLevel.ERRORS,
    isEvalSupported: false,
    disableFontFace: true,
  });
  try {
    const document = await task.promise;
    /** @type {string[]} */ const texts = [];
    for (let number = 1; number <= document.numPages; number += 1) {
      const page = await document.getPage(number);
      const { items } = await page.getTextContent();
      texts.push(items.map((item) => ("str" in item ? item.str + (item.hasEOL ? "\n" : "") : "")).join(""));
      page.cleanup();
    }
    return texts;
  } finally {
    await task.destroy();
  }
}
