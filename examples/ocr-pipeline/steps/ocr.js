// @ts-check
import { mkdir, readFile } from "node:fs/promises";
import { writeAtomically } from "./atomic-file.js";
import { readManifest, readRecognised, recognisedPath } from "./pages.js";
import { recogniserName, startRecogniser } from "./recogniser.js";
import { makeSearchablePdf } from "./searchable-pdf.js";
import { runStep } from "./wakeful.js";

/**
 * Stage `ocr`: reads the pages and makes `final.pdf`. The words of each page are on disk before the next page is begun, so an
 * attempt that is killed costs at most the page it was reading: the next attempt takes up what is there.
 */
await runStep(async (step) => {
  const { pages, source } = await readManifest(step.workDir);
  await mkdir(step.workPath("ocr"), { recursive: true });
  const total = pages.length;

  /** @type {import("./pages.js").RecognisedPage[]} */ const recognised = [];
  /** @type {Awaited<ReturnType<typeof startRecogniser>> | undefined} */ let recogniser;
  let reused = 0;
  try {
    for (const page of pages) {
      await step.progress({ done: recognised.length, total, label: `page ${page.number} of ${total}` });
      const earlier = await readRecognised(step.workDir, page, recogniserName);
      if (earlier !== undefined) {
        recognised.push(earlier);
        reused += 1;
        continue;
      }
      // Started when first needed: an attempt that finds every page read does not load the engine at all.
      recogniser ??= await startRecogniser({ onMove: () => step.stillMoving() });
      const lines = await recogniser.read(await readFile(step.workPath(page.image)));
      const words = { sha256: page.sha256, recogniser: recogniserName, lines };
      await writeAtomically(recognisedPath(step.workDir, page.number), `${JSON.stringify(words)}\n`);
      recognised.push(words);
      console.log(`page ${page.number} of ${total}: ${countWords(words)} words`);
    }
  } finally {
    await recogniser?.stop();
  }

  await step.progress({ done: total, total, label: "writing the PDF" });
  const pdf = await makeSearchablePdf({ title: source.replace(/\.cbz$/i, ""), pages: drawnPages() });
  await writeAtomically(step.workPath("final.pdf"), pdf);
  return {
    pages: total,
    recognised: total - reused,
    reused,
    words: recognised.reduce((sum, page) => sum + countWords(page), 0),
    bytes: pdf.length,
  };

  async function* drawnPages() {
    for (const [index, { picture, width, height }] of pages.entries()) {
      step.stillMoving();
      yield { picture: await readFile(step.workPath(picture)), width, height, lines: recognised[index]?.lines ?? [] };
    }
  }
});

/** @param {import("./pages.js").RecognisedPage} page */
function countWords(page) {
  return page.lines.reduce((sum, line) => sum + line.length, 0);
}
