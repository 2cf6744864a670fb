import { expect, test } from "vitest";
import { WakefulError } from "../domain/errors.ts";
import { envelopeOf, errorOfAnswer } from "./error-envelope.ts";

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
