import type { NodesView, NodeView } from "../views.ts";

export type NodeHealth = "ok" | "warning" | "down";

export function nodeHealth(node: NodeView): NodeHealth {
  if (node.state !== "reachable") return "down";
  return node.warnings.length > 0 ? "warning" : "ok";
}

export function healthText(node: NodeView): string {
  if (node.state === "conflict") return "conflict: two nodes claim this id";
  if (node.state === "unreachable") return "unreachable";
  return node.warnings.length > 0 ? "reachable, with warnings" : "reachable";
}

/** What a screen reader announces when the cluster changes. */
export function nodeChanges(before: NodesView | undefined, after: NodesView): string[] {
  if (before === undefined) return [];
  const known = new Map(before.nodes.map((node) => [node.id, node]));
  const changes: string[] = [];
  for (const node of after.nodes) {
    const old = known.get(node.id);
    if (old === undefined) changes.push(`${node.name} joined`);
    else if (nodeHealth(old) !== nodeHealth(node)) {
      changes.push(`${node.name} is ${healthText(node)}`);
    }
  }
  if (after.cut_off && !before.cut_off) changes.push("This node is cut off from the others");
  return changes;
}
