import { errorCodes } from "../domain/error-codes.ts";

/** `docs/errors.md`, made from the one table of codes; a test holds the file equal to this. */
export function errorsDocument(): string {
  const rows = Object.entries(errorCodes)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([code, { status, exitCode, retryable, remedy }]) =>
        `| \`${code}\` | ${status} | ${exitCode} | ${retryable ? "yes" : "no"} | ${remedy} |`,
    );
  return `# Errors

Every answer of the API that is an error has this body:

\`\`\`json
{ "error": { "code": "not_found", "message": "There is no job 7.", "details": {}, "correlationId": "5f0c-12" } }
\`\`\`

Match on \`code\`: it is stable, the message is for people. \`details\` holds facts for programs (ids, limits, positions), never payloads or secrets.
\`correlationId\` stands in the daemon's log beside what went wrong. The command line exits with the exit code of the error that it met and, with \`--json\`, prints the
same object. *Retryable*: the same call may succeed later without a change.

| code | HTTP status | exit code | retryable | what to do |
| --- | --- | --- | --- | --- |
${rows.join("\n")}
`;
}
