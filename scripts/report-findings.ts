/** Prints the findings of a check, one `path:line: message` each, and sets the exit code. */
export function reportFindings(
  check: string,
  fileCount: number,
  findings: readonly { readonly path: string; readonly line: number; readonly message: string }[],
): void {
  for (const { path, line, message } of findings) console.error(`${path}:${line}: ${message}`);
  if (findings.length > 0) process.exitCode = 1;
  console.log(`${check}: ${fileCount} files, ${findings.length === 0 ? "nothing found" : `${findings.length} found`}`);
}
