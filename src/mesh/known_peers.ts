/** The members of the last run, kept on disk: a restart does not depend on multicast. */
import { join } from "node:path";
import * as v from "valibot";
import { messageOf } from "../base/errors.ts";
import { writeFileAtomic } from "../base/fs/atomic_file.ts";
import type { Log } from "../base/log.ts";
import type { KnownMember } from "./member.ts";
import type { Membership } from "./membership.ts";
import { limits } from "./protocol.ts";

const text = v.pipe(v.string(), v.maxLength(300));
const file = v.object({
  members: v.pipe(
    v.array(v.object({
      id: text,
      name: text,
      addresses: v.pipe(v.array(text), v.maxLength(limits.addresses)),
      first_seen: v.number(),
      last_seen: v.nullable(v.number()),
    })),
    v.maxLength(limits.members),
  ),
  gone: v.array(text),
});

export interface KnownPeers {
  /** Writes what has changed since the last time; `lastSeen` alone only once in a while. */
  save(membership: Membership, now: number): void;
}

/** `last_seen` changes with each tick; after a crash it may be this much too old. */
const touchMs = 10 * 60_000;

/** Restores what an earlier run has left; a file that cannot be read is reported and replaced. */
export function openKnownPeers(folder: string, membership: Membership, log: Log): KnownPeers {
  const path = join(folder, "members.json");
  try {
    const { members, gone } = v.parse(file, JSON.parse(Deno.readTextFileSync(path)));
    membership.restore(members, gone);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) {
      log.warn("the list of known members is not usable; starting without", {
        file: path,
        reason: messageOf(error),
      });
    }
  }
  let written = shape(membership.known());
  let writtenAt = -Infinity;
  return {
    save(membership, now) {
      const known = membership.known();
      const next = shape(known);
      if (next === written && now - writtenAt < touchMs) return;
      writeFileAtomic(path, JSON.stringify(known) + "\n", 0o600);
      written = next;
      writtenAt = now;
    },
  };
}

function shape({ members, gone }: { members: KnownMember[]; gone: string[] }): string {
  return JSON.stringify([members.map(({ last_seen: _, ...rest }) => rest), gone]);
}
