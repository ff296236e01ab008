import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { call, type Problem, problemOf } from "../node_api.ts";
import { formatLatency, plural } from "../parts/format.ts";
import { Failure } from "../parts/problem.tsx";
import { exactTime, Time } from "../parts/time.tsx";
import { TableHead } from "../parts/table_head.tsx";
import { cluster, clusterProblem } from "../model/node_data.ts";
import type { ClusterView, EdgeView, NetworkView, NodeView, ReachView } from "../views.ts";
import { Alone } from "./alone.tsx";
import { ClusterHeading } from "./cluster_tabs.tsx";
import { Dot } from "./frame.tsx";

/** A larger matrix cannot be read: a count for each node is loaded and shown instead. */
const largestMatrix = 32;

/** Failing connections in the list. Where more fail, the counts of the nodes say more. */
const mostGaps = 200;

/** As often as the nodes ask each other. */
const reloadMs = 5_000;

/** Loads by itself: events leave out the connections, which are many and seen only here. */
export function NetworkPage() {
  const view = useSignal<ClusterView | NetworkView | undefined>(undefined);
  const problem = useSignal<Problem | undefined>(undefined);
  const isKnown = cluster.value !== undefined || clusterProblem.value !== undefined;
  const isLarge = (cluster.value?.nodes.length ?? 0) > largestMatrix;
  const load = async () => {
    try {
      view.value = isLarge
        ? await call<NetworkView>("GET", "/api/cluster?links=failing")
        : await call<ClusterView>("GET", "/api/cluster");
      problem.value = undefined;
    } catch (error) {
      problem.value = problemOf(error);
    }
  };
  useEffect(() => {
    // Which of the two to load depends on how many nodes there are.
    if (!isKnown) return;
    load();
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") load();
    }, reloadMs);
    return () => clearInterval(timer);
  }, [isKnown, isLarge]);
  return (
    <>
      <ClusterHeading current="network" />
      {problem.value !== undefined && <Failure problem={problem.value} retry={load} />}
      {view.value !== undefined && <Network view={view.value} />}
    </>
  );
}

function Network({ view }: { view: ClusterView | NetworkView }) {
  if (view.nodes.length < 2) {
    return <Alone cluster={view.cluster} />;
  }
  const broken = view.links.filter(({ reachable }) => !reachable);
  const total = "reach" in view
    ? view.reach.reduce((sum, { reaches_of }) => sum + reaches_of, 0)
    : view.links.length;
  // A node that is down breaks all of its connections: point out only the other failures.
  const up = new Set(view.nodes.filter(({ reachable }) => reachable).map(({ id }) => id));
  const gaps = broken.filter(({ from, to }) => up.has(from) && up.has(to));
  return (
    <>
      <p class="lead">
        {broken.length === 0
          ? "Every node reaches every other. "
          : `${broken.length} of ${plural(total, "connection")} fail. `}
        {!("reach" in view) && "A row shows the round trips from its node."}
      </p>
      {!("reach" in view) && <Matrix view={view} />}
      {gaps.length > 0 && <Gaps nodes={view.nodes} gaps={gaps} />}
      {/* Long, and says little where all is well. */}
      {"reach" in view && <ReachTable view={view} />}
    </>
  );
}

/** For each node how many it reaches, and how many reach it. */
function ReachTable({ view: { nodes, reach } }: { view: NetworkView }) {
  const byId = new Map(reach.map((each) => [each.id, each]));
  return (
    <table role="table" class="cards">
      <TableHead columns={["Node", "Reaches", "Is reached by", "Median round trip"]} />
      <tbody role="rowgroup">
        {nodes.map((node) => <ReachRow key={node.id} node={node} reach={byId.get(node.id)!} />)}
      </tbody>
    </table>
  );
}

function ReachRow({ node, reach }: { node: NodeView; reach: ReachView }) {
  const { reaches, reaches_of, reached_by, reached_by_of, latency_ms } = reach;
  return (
    <tr role="row">
      <th scope="row" role="rowheader">
        <span class="node">
          <Dot node={node} />
          <span class="name">{node.name}</span>
        </span>
      </th>
      <td role="cell" data-label="Reaches">{`${reaches} of ${reaches_of}`}</td>
      <td role="cell" data-label="Is reached by">{`${reached_by} of ${reached_by_of}`}</td>
      <td role="cell" data-label="Median round trip">
        {latency_ms === null ? "–" : formatLatency(latency_ms)}
      </td>
    </tr>
  );
}

function Matrix({ view: { nodes, ...view } }: { view: ClusterView }) {
  const links = new Map(view.links.map((link) => [`${link.from} ${link.to}`, link]));
  return (
    <div class="scroller" tabIndex={0} role="region" aria-label="Latency between nodes">
      <table role="table" class="matrix">
        <thead role="rowgroup">
          <tr role="row">
            <th scope="col" role="columnheader">
              <span class="quiet">from ↓ to →</span>
            </th>
            {nodes.map((node) => <th key={node.id} scope="col" role="columnheader">{node.name}
            </th>)}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {nodes.map((from) => (
            <tr role="row" key={from.id}>
              <th scope="row" role="rowheader">
                <span class="node">
                  <Dot node={from} />
                  <span class="name">{from.name}</span>
                </span>
              </th>
              {nodes.map((to) => (
                <Cell key={to.id} link={links.get(`${from.id} ${to.id}`)} isSelf={from === to} />
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Cell({ link, isSelf }: { link: EdgeView | undefined; isSelf: boolean }) {
  if (isSelf) return <td role="cell" class="itself" aria-label="itself" />;
  if (link === undefined) return <td role="cell" class="quiet" aria-label="unknown">?</td>;
  if (!link.reachable) {
    const title = link.last_seen === null
      ? "Never reached"
      : `Reached ${exactTime(link.last_seen)}`;
    return <td role="cell" class="down" title={title}>no</td>;
  }
  return (
    <td role="cell" class="up">
      {link.latency_ms === null ? "yes" : formatLatency(link.latency_ms)}
    </td>
  );
}

function Gaps({ nodes, gaps }: { nodes: NodeView[]; gaps: EdgeView[] }) {
  const nameOf = (id: string) => nodes.find((node) => node.id === id)?.name ?? id;
  return (
    <section>
      <h2>Failing connections between nodes that are up</h2>
      <table role="table" class="cards">
        <TableHead columns={["From", "To", "Last reached"]} />
        <tbody role="rowgroup">
          {gaps.slice(0, mostGaps).map(({ from, to, last_seen }) => (
            <tr role="row" key={`${from} ${to}`}>
              <th scope="row" role="rowheader">{nameOf(from)}</th>
              <td role="cell" data-label="To">{nameOf(to)}</td>
              <td role="cell" data-label="Last reached">
                <Time at={last_seen} empty="never" />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {gaps.length > mostGaps && (
        <p class="quiet">{`and ${plural(gaps.length - mostGaps, "other connection")}`}</p>
      )}
    </section>
  );
}
