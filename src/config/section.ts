import { z } from "zod";

/**
 * A group of settings. A group that is absent or empty has all its defaults.
 * A mistake in one key does not hide those in others: zod reports every key of a closed object.
 */
export function section<Shape extends z.core.$ZodShape>(shape: Shape, meaning: string) {
  const closed = z.strictObject(shape);
  return z.preprocess((input) => input ?? {}, closed).meta({ description: meaning });
}
