import type { Server } from "node:net";
import { joinHost } from "./address.ts";
import { messageOf, UserError } from "./errors.ts";

/**
 * Listens, and says what to do where that fails.
 *
 * @param setting of the port, as a person would change it: `--coordinator.port`.
 * @throws {UserError} `listen_failed`.
 */
export function listen(
  server: Server,
  { host, port, setting }: { host: string; port: number; setting: string },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: Error & { code?: string }) => {
      const isUsed = cause.code === "EADDRINUSE";
      // EINVAL is Deno 2.7's EADDRNOTAVAIL (see deno/README.md).
      const isForeign = cause.code === "EADDRNOTAVAIL" || cause.code === "EINVAL";
      const reason = isUsed
        ? "another program uses the port"
        : isForeign
        ? "this host has no such address"
        : messageOf(cause);
      reject(
        new UserError(`Could not listen on "${joinHost(host, port)}": ${reason}`, {
          code: "listen_failed",
          next: isUsed
            ? `Stop that program, or choose another port with ${setting}`
            : `Choose an address of this host, or a port above 1023 with ${setting}`,
          cause,
        }),
      );
    });
    server.listen({ host, port }, () => resolve());
  });
}
