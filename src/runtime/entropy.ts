import { randomBytes as bytes, randomUUID } from "node:crypto";
import { uuidv7 } from "uuidv7";

/** What is left to chance. */
export interface Chance {
  /** A number in [0, 1) for jitter. Nothing secret is made of it. */
  readonly random: () => number;
  /** A new id, safe as a file name and never given before. */
  readonly newId: () => string;
}

/** A number in [0, 1) for jitter. Nothing secret is made of it. */
export const random = (): number => Math.random();

/** Bytes for secrets. */
export const randomBytes = (count: number): Buffer => bytes(count);

/** A random id of a host, kept for ever. */
export const newHostId = (): string => randomUUID();

/** An id made by a client: unique, and in the order of its making. */
export const newClientId = (): string => uuidv7();
