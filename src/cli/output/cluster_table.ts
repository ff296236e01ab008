import { formatDuration } from "../../base/durations.ts";
import { printable } from "../../base/printable.ts";
import type { ClusterView, NodeView } from "../../mesh/cluster_view.ts";
import { counted } from "./format.ts";
import { type Cell, table } from "./table.ts";
import type { Colors } from "./terminal.ts";

export interface ClusterContext {
  colors: Colors;
  width: number | undefined;
  /** Milliseconds since the epoch. */
  now: number;
}

/** One line on the whole: `Cluster "lab": 3 nodes, all reachable`. */
export function clusterLine(
  { cluster, nodes, cut_off: cutOff }: ClusterView,
  paint: Colors,
): string {
  if (cluster === null) return "This node stands alone (agent node --cluster NAME joins one)";
  const bad = nodes.filter(({ state }) => state !== "reachable").length;
  const warned = nodes.filter(({ warnings }) => warnings.length > 0).length;
  const words = bad > 0
    ? paint.red(`${counted(bad, "node")} not reachable or in conflict`)
    : warned > 0
    ? paint.yellow(`all reachable, ${counted(warned, "node")} with warnings`)
    : paint.green("all reachable");
  const cut = cutOff
    ? `\n${paint.yellow("This node is cut off: most others vanished at once")}`
    : "";
  return `Cluster "${printable(cluster)}": ${counted(nodes.length, "node")}, ${words}${cut}`;
}

/** A row for each node, and below it what is wrong with them. */
export function nodeTable(view: ClusterView, { colors, width, now }: ClusterContext): string {
  const columns = [
    { title: "NAME" },
    { title: "STATE" },
    { title: "ROLE" },
    { title: "ADDRESS" },
    { title: "VERSION" },
    { title: "SEEN", right: true },
    { title: "LATENCY", right: true },
    { title: "LOAD", right: true },
    { title: "ID", flexible: true },
  ];
  const rows = view.nodes.map((node): Cell[] => [
    printable(node.name) + (node.self ? " (this node)" : ""),
    { text: node.state, paint: paintOf(node, colors) },
    node.role,
    printable(node.address),
    printable(node.version ?? "-"),
    node.self
      ? "-"
      : node.last_seen === null
      ? "never"
      : formatDuration(Math.max(0, now - Date.parse(node.last_seen))),
    node.latency_ms === null || node.self ? "-" : `${node.latency_ms} ms`,
    node.load === null ? "-" : String(node.load),
    node.id,
  ]);
  const notes = view.nodes.flatMap((node) => [
    ...(node.error === null
      ? []
      : [`${colors.red(printable(node.name))}: ${printable(node.error)}\n`]),
    ...node.warnings.map((each) => `${colors.yellow(printable(node.name))}: ${printable(each)}\n`),
  ]);
  const lines = table(columns, rows, { width, paintTitle: colors.dim });
  return lines + (notes.length === 0 ? "" : `\n${notes.join("")}`);
}

function paintOf({ state, warnings }: NodeView, { green, yellow, red }: Colors) {
  if (state !== "reachable") return red;
  return warnings.length > 0 ? yellow : green;
}
