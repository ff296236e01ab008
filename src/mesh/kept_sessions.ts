/**
 * Sessions on disk: a browser stays logged in when its node restarts. Only hashes of the random ids
 * are written, and only for the bearer token of that time: `agent token rotate` ends all of them,
 * also while the node is stopped.
 */
import { join } from "node:path";
import * as v from "valibot";
import { messageOf } from "../base/errors.ts";
import { writeFileAtomic } from "../base/fs/atomic_file.ts";
import type { Log } from "../base/log.ts";

/** SHA-256 in base64url. */
const hash = v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{43}$/));
const file = v.object({
  token_hash: hash,
  sessions: v.pipe(v.array(v.object({ hash, ends_at: v.number() })), v.maxLength(10_000)),
});

export interface KeptSessions {
  /** By hash, the one unused for longest first; when each ends. */
  sessions: Map<string, number>;
  /** Of the bearer token that they were opened under. */
  tokenHash: string;
}

export interface SessionFile {
  read(): KeptSessions | undefined;
  write(kept: KeptSessions): void;
}

/** A file that cannot be read is reported and replaced; one that cannot be written, reported. */
export function sessionFile(folder: string, log: Log): SessionFile {
  const path = join(folder, "sessions.json");
  return {
    read() {
      try {
        const { token_hash: tokenHash, sessions } = v.parse(
          file,
          JSON.parse(Deno.readTextFileSync(path)),
        );
        return { tokenHash, sessions: new Map(sessions.map((each) => [each.hash, each.ends_at])) };
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) {
          log.warn("the file of sessions is not usable; users have to log in again", {
            file: path,
            reason: messageOf(error),
          });
        }
        return undefined;
      }
    },
    write({ tokenHash, sessions }) {
      const list = [...sessions].map(([hash, endsAt]) => ({ hash, ends_at: endsAt }));
      try {
        const text = JSON.stringify({ token_hash: tokenHash, sessions: list }) + "\n";
        writeFileAtomic(path, text, 0o600);
      } catch (error) {
        // A login works all the same, until the node restarts.
        log.warn("could not write the sessions", { file: path, reason: messageOf(error) });
      }
    },
  };
}
