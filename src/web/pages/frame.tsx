import { useSignal } from "@preact/signals";
import {
  cluster,
  clusterName,
  isOutdated,
  logOut,
  retryStream,
  session,
  streamState,
} from "../model/node_data.ts";
import { healthText, nodeHealth } from "../model/node_changes.ts";
import { type Problem, problemOf } from "../node_api.ts";
import { plural } from "../parts/format.ts";
import { Icon } from "../parts/icons.tsx";
import { Failure } from "../parts/problem.tsx";
import { links, route } from "../route.ts";
import type { NodeView } from "../views.ts";
import { signOnTo } from "./sign_on.ts";

export function Sidebar() {
  const { page } = route.value;
  const pages = [
    { link: links.nodes, text: "Cluster", icon: "cluster", on: ["nodes", "network"] },
    { link: links.tasks, text: "Tasks", icon: "tasks", on: ["tasks", "task"] },
    { link: links.workers, text: "Workers", icon: "workers", on: ["workers"] },
  ] as const;
  return (
    <header class="sidebar">
      <p class="cluster-name">
        <strong title={clusterName.value}>{clusterName}</strong>
        <span class="quiet" title={session.value?.name}>
          {session.value === undefined
            ? ""
            : session.value.cluster === null
            ? "stands alone"
            : `seen from ${session.value.name}`}
        </span>
      </p>
      <NodeSummary />
      <nav aria-label="Pages">
        {pages.map(({ link, text, icon, on }) => (
          <a
            key={link}
            href={link}
            aria-current={(on as readonly string[]).includes(page) ? "page" : undefined}
          >
            <Icon name={icon} />
            {text}
          </a>
        ))}
      </nav>
      <NodeList />
      <footer>
        {session.value !== undefined && <span>agent {session.value.version}</span>}
        {session.value?.no_auth === false && (
          <button
            type="button"
            class="bare"
            onClick={() => logOut()}
          >
            Log out
          </button>
        )}
      </footer>
    </header>
  );
}

/** On phones in place of the list: how many nodes are well, and how many are not. */
function NodeSummary() {
  const nodes = cluster.value?.nodes ?? [];
  const kinds = [["ok", "well"], ["warning", "with warnings"], ["down", "down"]] as const;
  return (
    <a class="node-summary" href={links.nodes}>
      {kinds.map(([health, words]) => {
        const count = nodes.filter((node) => nodeHealth(node) === health).length;
        return count === 0 ? null : (
          <span key={health}>
            <span class={`dot ${health}`} aria-hidden="true" /> {count}
            <span class="unseen">{` ${words}, `}</span>
          </span>
        );
      })}
    </a>
  );
}

function NodeList() {
  const problem = useSignal<Problem | undefined>(undefined);
  const nodes = cluster.value?.nodes ?? [];
  const open = async (node: NodeView, event: MouseEvent) => {
    try {
      problem.value = undefined;
      await signOnTo(node, event);
    } catch (error) {
      problem.value = problemOf(error);
    }
  };
  return (
    <section class="node-list" aria-label="Nodes">
      <h2>{nodes.length > 0 ? plural(nodes.length, "node") : "Nodes"}</h2>
      <ul>
        {nodes.map((node) => <NodeItem key={node.id} node={node} onOpen={open} />)}
      </ul>
      {problem.value !== undefined && <Failure problem={problem.value} />}
    </section>
  );
}

function NodeItem(
  { node, onOpen }: { node: NodeView; onOpen: (node: NodeView, event: MouseEvent) => void },
) {
  const label = (
    <>
      <Dot node={node} />
      <span class="name">{node.name}</span>
      {node.self && <span class="quiet">this node</span>}
    </>
  );
  if (node.self || !node.can_sign_on) return <li class="node" title={node.address}>{label}</li>;
  return (
    <li>
      <button
        type="button"
        class="node bare"
        title={`Open ${node.name} (${node.address})`}
        onClick={(event) => onOpen(node, event)}
      >
        {label}
        <Icon name="open" />
      </button>
    </li>
  );
}

export function Dot({ node }: { node: NodeView }) {
  return (
    <>
      <span class={`dot ${nodeHealth(node)}`} aria-hidden="true" />
      <span class="unseen">{healthText(node)}:</span>
    </>
  );
}

export function Banners() {
  return (
    <div role="status">
      {cluster.value?.cut_off === true && (
        <p class="banner warning">
          <strong>This node is cut off.</strong>{" "}
          It reaches none of the others, so their states are as it saw them last. Check the network
          of this host.
        </p>
      )}
      {isOutdated.value && (
        <p class="banner">
          {`This node now runs agent ${session.value?.version}. `}
          <button type="button" onClick={() => location.reload()}>Load its pages</button>
        </p>
      )}
      {streamState.value === "retrying" && (
        <p class="banner">
          The live connection to this node is down; trying again. What you see may be old.{" "}
          <button type="button" onClick={retryStream}>Try now</button>
        </p>
      )}
    </div>
  );
}
