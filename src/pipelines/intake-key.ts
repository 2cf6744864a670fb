import { createHash } from "node:crypto";
import { canonicalJson, type Json } from "./definition.ts";

const hashOf = (profile: Json): string => createHash("sha256").update(canonicalJson(profile)).digest("hex");

/** The key of the item that a watched file becomes: the hash of its content and that of its pipeline's profile. */
export const intakeKey = ({ sha256, profile }: { readonly sha256: string; readonly profile: Json }): string =>
  `${sha256}__${hashOf(profile)}`;

/** The two hashes of such a key, and whether the item was made with a given profile; undefined for any other key. */
export function partsOfIntakeKey(
  key: string,
): { readonly fileHash: string; readonly profileHash: string; readonly isOf: (profile: Json) => boolean } | undefined {
  const [, fileHash, profileHash] = /^([0-9a-f]{64})__([0-9a-f]{64})$/.exec(key) ?? [];
  if (fileHash === undefined || profileHash === undefined) return undefined;
  return { fileHash, profileHash, isOf: (profile) => hashOf(profile) === profileHash };
}
