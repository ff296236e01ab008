/** What a node is known by: its id, and the token that its users show. */
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { randomBytes, randomUUID, timingSafeEqual } from "node:crypto";
import { writeFileAtomic } from "../base/fs/atomic_file.ts";
import { reasonOf } from "../base/fs/reason.ts";
import { UserError } from "../base/errors.ts";

/** 256 bits in base64url, which needs no escaping in URLs and cookies. */
const tokenPattern = /^[A-Za-z0-9_-]{43}$/;
const idPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function newToken(): string {
  return randomBytes(32).toString("base64url");
}

/** The node id, made at the first start. */
export function readNodeId(file: string): string {
  return readOrMake(file, idPattern, "node id", () => randomUUID());
}

/** The bearer token, made at the first start. */
export function readToken(file: string): string {
  return readOrMake(file, tokenPattern, "token", newToken);
}

/** The token of the file where that holds a usable one; for a look now and then. */
export function tokenIn(file: string): string | undefined {
  const text = readLine(file);
  return text !== undefined && tokenPattern.test(text) ? text : undefined;
}

/** Replaces the token; running nodes notice, and end the sessions of the former. */
export function rotateToken(file: string): string {
  const token = newToken();
  writeFileAtomic(file, `${token}\n`, 0o600);
  return token;
}

/**
 * The token of the file as it is now.
 *
 * @throws {UserError} where there is none or it is malformed.
 */
export function loadToken(file: string): string {
  const token = tokenIn(file);
  if (token !== undefined) return token;
  throw new UserError(`"${file}" holds no token`, {
    code: "no_token",
    next: "Make one: agent token rotate, or start agent node once",
  });
}

/**
 * Two nodes that start for the first time at once must agree: the file is created exclusively, and
 * the one that comes second reads it. One that is empty was left by a crash in between, and is
 * replaced.
 */
function readOrMake(file: string, pattern: RegExp, what: string, make: () => string): string {
  const made = make();
  if (createExclusively(file, `${made}\n`)) return made;
  const text = readLine(file) ?? "";
  if (pattern.test(text)) return text;
  if (text !== "") {
    throw new UserError(`"${file}" holds no ${what}`, {
      code: "bad_identity",
      next: `Remove it, and the next start makes a new one: rm "${file}"`,
    });
  }
  writeFileAtomic(file, `${made}\n`, 0o600);
  return made;
}

function createExclusively(file: string, text: string): boolean {
  let descriptor: number;
  try {
    descriptor = openSync(file, "wx", 0o600);
  } catch (error) {
    if ((error as { code?: string }).code === "EEXIST") return false;
    throw unusable(file, error);
  }
  try {
    writeSync(descriptor, text);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  return true;
}

function readLine(file: string): string | undefined {
  try {
    return Deno.readTextFileSync(file).trim();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw unusable(file, error);
  }
}

function unusable(file: string, cause: unknown): UserError {
  return new UserError(`Could not use "${file}": ${reasonOf(cause)}`, {
    code: "identity_unusable",
    next: "Start it as the owner of the configuration folder, or name another with AGENT_TLS_DIR",
    cause,
  });
}

/** A secret that others are compared with in constant time. Its length is no secret. */
export class Secret {
  #text = "";
  #bytes = new Uint8Array();

  constructor(readonly current: () => string) {}

  is(text: string): boolean {
    const current = this.current();
    if (current !== this.#text) {
      this.#text = current;
      this.#bytes = encoder.encode(current);
    }
    const given = encoder.encode(text);
    return given.length === this.#bytes.length && timingSafeEqual(given, this.#bytes);
  }
}

const encoder = new TextEncoder();
