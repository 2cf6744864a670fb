import { codeOf, isWakefulError, messageOf, WakefulError } from "../../domain/errors.ts";
import type { AnyPathOperation } from "./path-operation.ts";

/** From the daemon to its path helper. */
export interface HelperCall {
  readonly id: number;
  readonly operation: string;
  readonly args: unknown;
}

/** From the path helper to its daemon. `alive`: the call is under way and goes on. */
export type HelperWord =
  | { readonly id: number; readonly kind: "alive" }
  | { readonly id: number; readonly kind: "done"; readonly result: unknown }
  | { readonly id: number; readonly kind: "failed"; readonly error: CarriedError };

/** An error as it crosses to another process: what callers match on. */
interface CarriedError {
  readonly message: string;
  readonly code: string | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;
}

const carried = (thrown: unknown): CarriedError => ({
  message: messageOf(thrown),
  code: codeOf(thrown),
  details: isWakefulError(thrown) ? thrown.details : undefined,
});

/** The error on the other side. */
export function uncarried({ message, code, details }: CarriedError): Error {
  const plain: Error & { code?: string | undefined } = Object.assign(new Error(message), { code });
  return isWakefulError(plain) ? new WakefulError(plain.code, message, { details }) : plain;
}

/** How often a call says at most that it goes on. */
const aliveEveryMs = 200;

/** Runs what is asked and answers it. Never rejects. */
export async function answerCall(
  { id, operation: name, args }: HelperCall,
  {
    operations,
    say,
    mono,
  }: { readonly operations: readonly AnyPathOperation[]; readonly say: (word: HelperWord) => void; readonly mono: () => number },
): Promise<void> {
  let saidAt = mono();
  const alive = (): void => {
    if (mono() - saidAt < aliveEveryMs) return;
    saidAt = mono();
    say({ id, kind: "alive" });
  };
  try {
    const operation = operations.find((each) => each.name === name);
    if (operation === undefined) throw new WakefulError("internal", `The path helper knows no operation ${name}.`);
    say({ id, kind: "done", result: await operation.run(args as never, alive) });
  } catch (thrown) {
    say({ id, kind: "failed", error: carried(thrown) });
  }
}
