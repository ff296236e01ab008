import type { Env } from "../../base/env.ts";
import type { LockOptions } from "../../base/fs/file_transaction.ts";
import { detect, type Detected, hostFacts } from "./detect.ts";
import { tlsRoot } from "./settings.ts";

/** The surroundings of the `tls` commands: real in a command, chosen in tests. */
export interface Pki extends LockOptions {
  root: string;
  /** Milliseconds since the epoch. */
  now: () => number;
  detect: () => Detected;
}

export function pkiOf(env: Env): Pki {
  return {
    root: tlsRoot(env),
    now: () => env.clock.now(),
    detect: () => detect(hostFacts()),
    waiting: () => env.log.info("Waiting for another agent tls command to finish"),
  };
}
