// @ts-check
import {
  beginText,
  endText,
  PDFDocument,
  StandardFonts,
  setCharacterSqueeze,
  setFontAndSize,
  setTextMatrix,
  setTextRenderingMode,
  showText,
  TextRenderingMode,
} from "@cantoo/pdf-lib";

/** Pixels of a page image per inch of paper: 1000 x 1400 pixels make about an A5 page. */
const dotsPerInch = 170;
const pointsPerPixel = 72 / dotsPerInch;

/**
 * Makes a PDF that looks like the pictures and reads like the words. The text is drawn in the invisible mode *and* before the
 * picture that covers it, so that a reader which ignores the mode still shows only the picture.
 *
 * @param {{ title: string, pages: Iterable<{ picture: Uint8Array, width: number, height: number, lines: import("./pages.js").Word[][] }>
 *   | AsyncIterable<{ picture: Uint8Array, width: number, height: number, lines: import("./pages.js").Word[][] }> }} comic
 *   pictures are JPEG
 * @returns {Promise<Uint8Array>}
 */
export async function makeSearchablePdf({ title, pages }) {
  const document = await PDFDocument.create();
  document.setTitle(title);
  document.setCreator("Wakeful example: ocr-pipeline");
  const font = await document.embedFont(StandardFonts.Helvetica);
  const drawable = new Set(font.getCharacterSet());

  for await (const { picture, width, height, lines } of pages) {
    const page = document.addPage([width * pointsPerPixel, height * pointsPerPixel]);
    const fontKey = page.node.newFontDictionary(font.name, font.ref);
    page.pushOperators(beginText(), setTextRenderingMode(TextRenderingMode.Invisible));
    for (const line of lines) {
      for (const word of line) {
        const text = onlyDrawable(word.text, drawable);
        if (text === "") continue;
        const size = Math.max(1, (word.y1 - word.y0) * pointsPerPixel);
        const naturalWidth = font.widthOfTextAtSize(text, size);
        // Squeezing the word to the width of its picture makes a selection cover what it seems to cover.
        const squeeze = (100 * (word.x1 - word.x0) * pointsPerPixel) / naturalWidth;
        page.pushOperators(
          setFontAndSize(fontKey, size),
          setCharacterSqueeze(squeeze),
          setTextMatrix(1, 0, 0, 1, word.x0 * pointsPerPixel, (height - word.y1) * pointsPerPixel),
          showText(font.encodeText(`${text} `)),
        );
      }
    }
    page.pushOperators(endText());
    const image = await document.embedJpg(picture);
    page.drawImage(image, { x: 0, y: 0, width: page.getWidth(), height: page.getHeight() });
  }
  return document.save();
}

/**
 * Keeps what the built-in font can encode (Western European letters); ligatures are written out first.
 *
 * @param {string} text
 * @param {ReadonlySet<number>} drawable
 */
function onlyDrawable(text, drawable) {
  return Array.from(text.normalize("NFKC"))
    .filter((character) => drawable.has(character.codePointAt(0) ?? 0))
    .join("");
}
