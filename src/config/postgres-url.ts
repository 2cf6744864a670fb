/** The parts of a PostgreSQL store's address. */
export interface PostgresUrl {
  /** For the driver: without our own parameters. Holds the password. */
  readonly connectionString: string;
  readonly schema: string;
  /** The store's name in messages: without password and parameters. */
  readonly name: string;
}

export type ParsedPostgresUrl =
  | { readonly ok: true; readonly value: PostgresUrl }
  /** The end of a sentence, which repeats nothing of the URL but its schema. */
  | { readonly ok: false; readonly rule: string };

const schemaPattern = /^[a-z_][a-z0-9_]{0,40}$/;
const form = "postgres://user:password@host:5432/database?schema=name";

export const isPostgresUrl = (text: string): boolean => /^postgres(ql)?:\/\//.test(text);

/** Reads `postgres://...`, with `?schema=name` (default `wakeful`). */
export function parsePostgresUrl(text: string): ParsedPostgresUrl {
  const url = isPostgresUrl(text) && URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined)
    return {
      ok: false,
      rule: `is no URL of a database: write ${form}, with the port below 65536 and /, @, :, ? and # of a password as %2F, %40, %3A, %3F and %23`,
    };
  const undecodable = [url.username, url.password, url.hostname, url.pathname].some((part) => !isDecodable(part));
  if (undecodable) return { ok: false, rule: "has a % that begins no escape; write it as %25" };
  const schema = url.searchParams.get("schema") ?? "wakeful";
  if (!schemaPattern.test(schema) || schema.startsWith("pg_")) {
    const shown = JSON.stringify(schema.slice(0, 41));
    return {
      ok: false,
      rule: `names the schema ${shown}: it must be lower-case letters, digits and _ only, at most 41, and not begin with pg_`,
    };
  }
  url.searchParams.delete("schema");
  const connectionString = url.href;
  url.password = "";
  url.search = "";
  return { ok: true, value: { connectionString, schema, name: url.href } };
}

function isDecodable(part: string): boolean {
  try {
    decodeURIComponent(part);
    return true;
  } catch {
    // It fails only on an invalid escape.
    return false;
  }
}

/**
 * Masks the passwords of PostgreSQL URLs in any text, also of unreadable URLs: up to the last `@` of the word or quoted text, because an
 * unescaped password may hold any character.
 */
export const withoutPassword = (text: string): string =>
  text.replaceAll(/(postgres(?:ql)?:\/\/[^:@/?#"]*):(?:[^"\\]|\\.)*@/g, "$1:***@").replaceAll(/([?&](?:ssl)?password=)[^&"\s]*/g, "$1***");
