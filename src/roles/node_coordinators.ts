import type { Env } from "../base/env.ts";
import { oneOfSeveral } from "../client/one_of_several.ts";
import { peerMode } from "../config/peer_mode.ts";
import type { Config } from "../config/schema.ts";
import type { Node } from "../mesh/api/context.ts";

/** What a node serves of its coordinators: as one service, and which of them did not answer. */
export type NodeCoordinators = Pick<Node, "tasks" | "unanswered">;

/** Prepares to dial those that are configured; with none the node serves no tasks. */
export async function openCoordinators(
  config: Config,
  env: Env,
  open: AsyncDisposableStack,
): Promise<NodeCoordinators> {
  const addresses = config.values["node.coordinators"];
  if (addresses.length === 0) return { tasks: undefined, unanswered: () => [] };
  // Loaded only if needed: gRPC takes 8 MiB.
  const { dialCoordinator } = await import("../peer/client.ts");
  const mode = peerMode(config, "node");
  const coordinators = await Promise.all(
    addresses.map(async (address) => open.use(await dialCoordinator(address, mode, env))),
  );
  /** Reasons, by address. */
  const missing = new Map<string, string>();
  const tasks = oneOfSeveral(coordinators, {
    unanswered: (address, { message }) => {
      if (!missing.has(address)) {
        env.log.warn("a coordinator does not answer", { address, reason: message });
      }
      missing.set(address, message);
    },
    answered: (address) => {
      if (missing.delete(address)) env.log.info("a coordinator answers again", { address });
    },
    // A browser repeats requests by itself; it must not wait for an unreachable coordinator.
    again: (ask) => ask(),
  });
  return {
    tasks,
    unanswered: () => [...missing].map(([coordinator, reason]) => ({ coordinator, reason })),
  };
}
