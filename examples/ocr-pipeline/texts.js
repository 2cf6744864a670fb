// @ts-check

/**
 * The words of the sample comics. A comic is a pure function of its number and the number of its pages, so the program that draws
 * it and the one that checks the PDF afterwards need not exchange anything.
 *
 * @typedef {object} Story
 * @property {string} title
 * @property {string} fileName without number and extension
 * @property {"png" | "jpeg" | "webp"} format
 * @property {(number: number) => string} entryName name of a page inside the archive
 * @property {string[][]} pages what is said in the panels of each page
 *
 * @typedef {{ title: string, panels: string[] }} ComicPage
 * @typedef {{ fileName: string, story: Story, volume: number }} Comic
 */

/** @type {readonly Story[]} */
const stories = [
  {
    title: "The Lighthouse Cat",
    fileName: "the-lighthouse-cat",
    format: "png",
    entryName: (number) => `pages/page-${String(number).padStart(3, "0")}.png`,
    pages: [
      [
        "Every evening the old keeper climbs ninety steps to light the lamp.",
        "Every evening the cat counts them, and the cat is never wrong.",
        "Tonight the keeper stops at step forty and sits down slowly.",
      ],
      [
        "Go on without me, he whispers. The ships need their light.",
        "A cat cannot strike a match, but a cat can ring a bell.",
        "She jumps for the rope and hangs on with all four paws.",
      ],
      [
        "Down in the harbour the baker hears the bell and drops his bread.",
        "That is not the hour for bells! Something is wrong up there!",
        "Wake the doctor. Bring the long ladder and a warm blanket.",
      ],
      [
        "Out at sea a captain looks for a star that does not move.",
        "I see nothing but black water. Drop the anchor and wait.",
        "Listen! Somebody is ringing for us from the shore.",
      ],
      [
        "The baker runs past the keeper and lights the great lamp himself.",
        "Turn the handle gently, calls the keeper. She likes to be asked.",
        "The beam sweeps over the waves and finds eleven little boats.",
      ],
      [
        "By morning all eleven boats lie safe behind the harbour wall.",
        "Who rang the bell? asks the doctor. The keeper points at the cat.",
        "The cat says nothing. She is busy counting ninety steps again.",
      ],
    ],
  },
  {
    title: "Robot in the Garden",
    fileName: "Robot in the Garden",
    format: "jpeg",
    // Numbers without leading zeros, from 8 on: sorted as plain text, page 10 would come before page 8.
    entryName: (number) => `${number + 7}.jpg`,
    pages: [
      [
        "Unit seven was built to carry boxes from one wall to another.",
        "One spring morning the factory closed and forgot to switch it off.",
        "There were no boxes left, so it carried a flower pot outside.",
      ],
      [
        "Error: the object is growing. Please advise, said the robot.",
        "A girl looked over the fence. You have to give it water, she said.",
        "How much water? One cup. How many times? Until it is happy.",
      ],
      [
        "The robot added a new rule at the bottom of its long list.",
        "Measure happiness twice a day and write the number down.",
        "By June there were forty flower pots and one very proud machine.",
      ],
      [
        "Then came a storm that broke the windows of the empty factory.",
        "The robot stood over the smallest plants until the rain was gone.",
        "Rust is acceptable, it decided. Broken stems are not.",
      ],
      [
        "The girl brought oil, a soft brush and her whole school class.",
        "Can it come to our garden too? asked a boy with muddy boots.",
        "The robot searched its memory and found no rule against it.",
      ],
      [
        "Now unit seven carries boxes again, full of tomatoes and beans.",
        "In the evening it turns its own switch off, quite content.",
        "The last line of its list says: happiness measured, value high.",
      ],
    ],
  },
  {
    title: "Midnight Bakery",
    // A space and an accent, as real file names have them.
    fileName: "Le café de minuit",
    format: "webp",
    entryName: (number) => `Le café de minuit/planche ${number}.webp`,
    pages: [
      [
        "At midnight a small door opens between the bank and the tailor.",
        "Inside, three ghosts are arguing about the right amount of butter.",
        "More butter, says the first. There is no such thing as too much.",
      ],
      [
        "A tired nurse walks in and orders the strongest coffee they have.",
        "We only serve wishes and warm rolls, explains the second ghost.",
        "Then I wish for a chair, she answers, and for somebody to listen.",
      ],
      [
        "She talks about the long night shift and a child who would not sleep.",
        "The third ghost kneads the dough in time with her quiet words.",
        "When the rolls are done they smell of rain on a summer road.",
      ],
      [
        "Take two with you, they say. One is for the child upstairs.",
        "At three in the morning the hospital corridor smells of cinnamon.",
        "The child eats, yawns once, and sleeps until the sun is up.",
      ],
      [
        "Next evening the nurse looks for the door, but finds only bricks.",
        "On the wall hangs a paper bag with her name written in flour.",
        "Inside is a recipe, and on the back a single word: listen.",
      ],
      [
        "Years later there is a new bakery between the bank and the tailor.",
        "The woman behind the counter always keeps a free chair for guests.",
        "And if the butter runs low, somebody fills it up overnight.",
      ],
    ],
  },
  {
    title: "Captain Umbrella",
    fileName: "captain-umbrella",
    format: "jpeg",
    entryName: (number) => `captain/${String(number).padStart(2, "0")}.jpeg`,
    pages: [
      [
        "In the city of Drizzle it had rained for two hundred days.",
        "People had forgotten the colour of the sky and the taste of dust.",
        "Only one person was prepared: the shy owner of a lost umbrella office.",
      ],
      [
        "Help! cried the mayor. The river is climbing into my library!",
        "Stand back, sir. I have nine thousand umbrellas and a plan.",
        "He opened the first one, turned it over and set it on the water.",
      ],
      [
        "Soon a fleet of umbrellas floated down the main street.",
        "Children rowed with wooden spoons and saved the books one by one.",
        "Save the poems first, said the mayor, they are the driest we have.",
      ],
      [
        "On the third night the wind lifted the captain above the roofs.",
        "From up there he saw a cloud that was stuck on the church tower.",
        "So that is all! he laughed. Somebody has to give it a push.",
      ],
      [
        "He hooked his handle into the cloud and pulled with all his weight.",
        "It came loose with a sigh, like a cork leaving a bottle.",
        "For a moment everything was silent. Then the sun came out.",
      ],
      [
        "The people of Drizzle danced and lost their umbrellas at once.",
        "The captain wrote nine thousand labels and put the kettle on.",
        "It will rain again, he said, and this time everybody can row.",
      ],
    ],
  },
];

/** Pages of a sample comic when nothing else is asked for. */
export const defaultPageCount = 4;

/**
 * @param {number} index counted from 0; after the last story the stories come again as the next volume
 * @returns {Comic}
 */
export function comicAt(index) {
  const story = /** @type {Story} */ (stories[index % stories.length]);
  const volume = Math.floor(index / stories.length) + 1;
  return { story, volume, fileName: volume === 1 ? story.fileName : `${story.fileName} ${volume}` };
}

/**
 * What stands on each page. After the story's last page it begins again; title and page number keep the pages apart.
 *
 * @param {Comic} comic
 * @param {number} pageCount
 * @returns {ComicPage[]}
 */
export function pagesOf({ story, volume }, pageCount) {
  return Array.from({ length: pageCount }, (_, index) => ({
    title: `${story.title}, volume ${volume}, page ${index + 1}`,
    panels: story.pages[index % story.pages.length] ?? [],
  }));
}

/**
 * The words of a comic, page by page, found by the name of its archive or of its published PDF (`<name>__job-<key>.pdf`).
 *
 * @param {string} fileName
 * @param {number} pageCount
 * @returns {string[][] | undefined} undefined when it is none of ours
 */
export function expectedWords(fileName, pageCount) {
  const name = fileName.replace(/(__job-[^/]*)?\.(pdf|cbz)$/i, "").normalize("NFC");
  const story = stories.find((candidate) => name === candidate.fileName || /^ \d+$/.test(suffixAfter(name, candidate.fileName)));
  if (story === undefined) return undefined;
  const volume = name === story.fileName ? 1 : Number(name.slice(story.fileName.length));
  return pagesOf({ story, volume, fileName: name }, pageCount).map((page) => wordsOf([page.title, ...page.panels].join(" ")));
}

/**
 * @param {string} name
 * @param {string} prefix
 */
function suffixAfter(name, prefix) {
  return name.startsWith(prefix) ? name.slice(prefix.length) : "";
}

/**
 * Words as they are compared: lower case, letters and digits only.
 *
 * @param {string} text
 * @returns {string[]}
 */
export function wordsOf(text) {
  return (
    text
      .normalize("NFKC")
      .toLowerCase()
      .match(/[\p{L}\p{N}]+/gu) ?? []
  );
}
