import { dirname } from "node:path";
import { messageOf } from "../errors.ts";

export type NoAccess =
  | { cause: "read_only" }
  | { cause: "owner"; folder: string; owner: number }
  | { cause: "other" };

/** Why a path, or the nearest folder above it that exists, cannot be used. */
export function whyNoAccess(path: string, error: unknown, uid: number | null): NoAccess {
  const message = messageOf(error);
  // EROFS and EACCES; Deno has no code for errors of all calls.
  if (/read-only|os error 30/i.test(message)) return { cause: "read_only" };
  if (!/permission denied|os error 13/i.test(message)) return { cause: "other" };
  for (let folder = path;; folder = dirname(folder)) {
    const owner = ownerOf(folder);
    if (owner !== undefined) {
      return owner === uid ? { cause: "other" } : { cause: "owner", folder, owner };
    }
    if (folder === dirname(folder)) return { cause: "other" };
  }
}

function ownerOf(path: string): number | undefined {
  try {
    return Deno.statSync(path).uid ?? undefined;
  } catch {
    return undefined; // Missing, or below a folder that this user may not enter.
  }
}
