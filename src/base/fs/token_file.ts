import { join } from "node:path";
import { writeFileAtomic } from "./atomic_file.ts";

/** 256 random bits, like a key: nothing that is guessed. */
const tokenBytes = 32;

/** The file of the cluster's bearer token, beside `tls/`. */
export function tokenFile(configRoot: string): string {
  return join(configRoot, "token");
}

/**
 * Reads the bearer token, without the line end; makes it, with mode 0600, where there is none.
 *
 * @throws {Deno.errors.PermissionDenied} where the file or its folder belongs to another user.
 */
export function readOrMakeToken(configRoot: string): string {
  const file = tokenFile(configRoot);
  try {
    const token = Deno.readTextFileSync(file).trim();
    if (token !== "") return token;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const token = crypto.getRandomValues(new Uint8Array(tokenBytes))
    .toBase64({ alphabet: "base64url", omitPadding: true });
  writeFileAtomic(file, new TextEncoder().encode(`${token}\n`), 0o600);
  return token;
}
