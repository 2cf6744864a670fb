/** Words longer than this are no misspelling of a key; the limit also bounds the work on hostile input. */
const longestWord = 64;

/** Edits (insert, delete, replace, swap of neighbours) between two words. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let best = Math.min((last[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1, (last[column - 1] ?? 0) + (same ? 0 : 1));
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (swapped) best = Math.min(best, (beforeLast[column - 2] ?? 0) + 1);
      current.push(best);
    }
    beforeLast = last;
    last = current;
  }
  return last[b.length] ?? 0;
}

/** The known word that `word` most likely stands for, or `undefined` when none is near (a third of its letters, at least two edits). */
export function nearestWord(word: string, known: Iterable<string>): string | undefined {
  if (word.length > longestWord) return undefined;
  let nearest: { word: string; distance: number } | undefined;
  for (const candidate of known) {
    if (candidate.length > longestWord) continue;
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (
      distance <= Math.max(2, Math.floor(candidate.length / 3)) &&
      distance < candidate.length &&
      (nearest === undefined || distance < nearest.distance)
    ) {
      nearest = { word: candidate, distance };
    }
  }
  return nearest?.word;
}
