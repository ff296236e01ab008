import { createHash } from "node:crypto";
import type { WorkerOptions } from "./worker_options.ts";

/**
 * How a worker introduces itself to one of several coordinators. Attempts of one coordinator do not
 * belong to another, so each sees a different process and home. Otherwise a coordinator that is
 * configured twice, by two names, would take each connection for the successor of the other, and
 * reassign what the other runs.
 */
export function helloTo(
  address: string,
  hello: WorkerOptions["hello"],
  isFirst: boolean,
): WorkerOptions["hello"] {
  const { instance, home, resources } = hello;
  const derived = (name: string) =>
    createHash("sha256").update(`${name} ${address}`).digest("hex").slice(0, 32);
  return {
    ...hello,
    // Two coordinators would each give out all of them.
    resources: isFirst ? resources : undefined,
    instance: derived(instance),
    home: home === undefined ? undefined : derived(home),
  };
}
