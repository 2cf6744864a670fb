/** A file with the files that it imports, as types or later too. */
export interface ImportingFile {
  readonly path: string;
  readonly imports: readonly { readonly target: string; readonly line: number }[];
}

export interface Circle {
  /** The import that closes the circle. */
  readonly path: string;
  readonly line: number;
  /** From the first file round to the first file again. */
  readonly files: readonly string[];
}

/**
 * The circles among these files, one for each import that closes one. Two files that import each other are one file that nobody can read,
 * load or test in halves, also where one of the imports is of a type or waits until it is called.
 */
export function findCircles(files: readonly ImportingFile[]): readonly Circle[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const finished = new Set<string>();
  const circles: Circle[] = [];
  const trail: string[] = [];
  const visit = (path: string): void => {
    trail.push(path);
    for (const { target, line } of byPath.get(path)?.imports ?? []) {
      const start = trail.indexOf(target);
      if (start !== -1) circles.push({ path, line, files: [...trail.slice(start), target] });
      else if (byPath.has(target) && !finished.has(target)) visit(target);
    }
    trail.pop();
    finished.add(path);
  };
  for (const { path } of files) if (!finished.has(path)) visit(path);
  return circles;
}
