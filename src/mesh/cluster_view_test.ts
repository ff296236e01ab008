import assert from "node:assert/strict";
import { nodesView, type OwnFacts } from "./cluster_view.ts";
import { Membership } from "./membership.ts";

const dayMs = 86_400_000;
const end = Date.UTC(2030, 0, 1);

const own: OwnFacts = {
  facts: {
    ...{ id: "a", instance: "1", name: "a", cluster: "lab", version: "1", addresses: ["a:1"] },
    ...{ started_at: 0, cpu_count: 1, load: 0, memory_total: 1, memory_available: 1 },
  },
  firstSeen: 0,
  certificate: {
    certificateFingerprint: "f",
    certificateNotAfter: end,
    caFingerprint: "c",
  },
};

Deno.test("a node is warned of from 30 days before the end of its certificate", () => {
  const times: [at: number, warning: string | undefined][] = [
    [end - 30 * dayMs, undefined],
    [end - 30 * dayMs + 1, "ends in 29 days"],
    [end - 2 * dayMs, "ends in 2 days"],
    [end - 2 * dayMs + 1, "ends in 1 day"],
    [end - dayMs, "ends in 1 day"],
    [end - dayMs + 1, "ends in 0 days"],
    [end, "ends in 0 days"],
    [end + 1, "has expired"],
  ];
  for (const [wall, warning] of times) {
    const membership = new Membership({ id: "a", instance: "1" });
    const { nodes } = nodesView(membership, own, { now: 0, wall, signOn: false });
    assert.deepEqual(
      nodes[0]!.warnings,
      warning === undefined ? [] : [`Its certificate ${warning}: agent tls renew`],
    );
  }
});
