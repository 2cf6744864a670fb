import { expect, test } from "vitest";
import { WakefulError } from "../domain/errors.ts";
import { asRunId } from "../domain/ids.ts";
import { api } from "./api/index.ts";
import { createClient } from "./client.ts";
import { envelopeOf, errorOfAnswer } from "./error-envelope.ts";
import { errorsDocument } from "./errors-doc.ts";
import { runOfToken, runToken } from "./run-token.ts";
import { ControlStripper, withoutControls } from "./terminal-text.ts";
import { pathId } from "./wire.ts";

const secret = Buffer.alloc(32, 7);

test("a run token names its own run and no other", () => {
  const token = runToken(secret, asRunId(41));
  expect(runOfToken(secret, token)).toBe(41);
  expect(runOfToken(secret, token.replace(".41.", ".42."))).toBeUndefined();
  expect(runOfToken(Buffer.alloc(32, 8), token)).toBeUndefined();
  expect(runOfToken(secret, `${token}A`)).toBeUndefined();
  expect(runOfToken(secret, "")).toBeUndefined();
});

test.each([
  ["\u001b[31mred\u001b[0m", "red"],
  ["\u001b]0;title\u0007after", "after"],
  ["\u001b]8;;http://x\u001b\\link\u001b]8;;\u001b\\", "link"],
  ["\u009b2Jcleared", "cleared"],
  ["over\rwritten\b", "overwritten"],
  ["tab\tand\nline", "tab\tand\nline"],
  ["\u202egnp.exe", "gnp.exe"],
  ["\u001b(Bcharset", "charset"],
  ["\u001b[broken\nnext", "roken\nnext"],
  ["\u001b]never ended\nnext", "\nnext"],
])("terminal controls do not reach a terminal: %j", (given, kept) => {
  expect(withoutControls(given)).toBe(kept);
});

test("a control sequence that is cut in two is still removed", () => {
  const stripper = new ControlStripper();
  expect(["a\u001b", "[3", "1mb"].map((piece) => stripper.push(piece)).join("")).toBe("ab");
});

test.each(["", " ", "-1", "0", "1.5", "1e3", "0x10", "NaN", "Infinity", "9007199254740992", "99999999999999999999", "７"])(
  "%j is not an id",
  (text) => {
    expect(pathId.safeParse(text).success).toBe(false);
  },
);

test("an error keeps its code and details on its way to the client", () => {
  const thrown = new WakefulError("conflict", "It is running.", { details: { state: "running" } });
  const { status, body } = envelopeOf(thrown, "c-1");
  const received = errorOfAnswer(status, JSON.parse(JSON.stringify(body)));
  expect([status, received.code, received.message, received.details]).toEqual([
    409,
    "conflict",
    "It is running.",
    { state: "running", correlationId: "c-1" },
  ]);
});

test("a defect's text stays in the daemon", () => {
  expect(JSON.stringify(envelopeOf(new Error("password=hunter2"), "c-2"))).not.toContain("hunter2");
});

test("an answer that is not Wakeful's is told as such", () => {
  expect(errorOfAnswer(502, undefined).code).toBe("unavailable");
  expect(errorOfAnswer(418, { teapot: true }).code).toBe("internal");
});

test("the client puts ids and names into the path, escaped, and only given values into the query", async () => {
  const seen: string[] = [];
  const client = createClient({
    transport: async ({ method, path }) => {
      seen.push(`${method} ${path}`);
      return {
        status: 200,
        chunks: (async function* () {
          yield Buffer.from('{"done":true}');
        })(),
      };
    },
  });
  await client.call(api.renewLease, { params: { name: "org/repo ?" }, body: { fencing: 3 } });
  await client.stream(api.listItems, { query: { pipeline: "a&b", limit: 5 } });
  expect(seen).toEqual(["POST /v1/leases/org%2Frepo%20%3F/renew", "GET /v1/items?pipeline=a%26b&limit=5"]);
});

test("a daemon that is not there is told as daemon_unreachable", async () => {
  const client = createClient({ socketPath: "/nonexistent/wakeful.sock", token: "x" });
  await expect(client.call(api.healthz, {})).rejects.toMatchObject({ code: "daemon_unreachable", retryable: true });
});

test("docs/errors.md is the table of codes; `vitest run src/protocol -u` writes it again", async () => {
  await expect(errorsDocument()).toMatchFileSnapshot("../../docs/errors.md");
});
