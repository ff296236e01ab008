/** The connections between nodes, counted for each node: one by one those of 300 nodes are 15 MB. */
import { TimeSlices } from "../base/time_slices.ts";
import {
  type EdgeView,
  linksOf,
  type NetworkView,
  type NodesView,
  type ReachView,
} from "./cluster_view.ts";
import type { Membership } from "./membership.ts";

const slices = new TimeSlices();

export async function networkView(
  membership: Membership,
  view: NodesView,
  now: number,
): Promise<NetworkView> {
  const reach = new Map<string, ReachView & { latencies: number[] }>();
  for (const { id } of view.nodes) {
    const none = { reaches: 0, reaches_of: 0, reached_by: 0, reached_by_of: 0, latency_ms: null };
    reach.set(id, { id, ...none, latencies: [] });
  }
  const links: EdgeView[] = [];
  for (const link of linksOf(membership, now)) {
    const turn = slices.pace();
    if (turn !== undefined) await turn;
    const [from, to] = [reach.get(link.from), reach.get(link.to)];
    // A node that came or went meanwhile.
    if (from === undefined || to === undefined) continue;
    from.reaches_of++;
    to.reached_by_of++;
    if (!link.reachable) {
      links.push(link);
      continue;
    }
    from.reaches++;
    to.reached_by++;
    if (link.latency_ms !== null) from.latencies.push(link.latency_ms);
  }
  return {
    ...view,
    reach: [...reach.values()].map(({ latencies, ...counts }) => ({
      ...counts,
      latency_ms: latencies.toSorted((a, b) => a - b)[Math.floor(latencies.length / 2)] ?? null,
    })),
    links,
  };
}
