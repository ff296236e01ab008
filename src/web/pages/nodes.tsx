import { useSignal } from "@preact/signals";
import { cluster, clusterProblem, loadCluster } from "../model/node_data.ts";
import { call, type Problem, problemOf } from "../node_api.ts";
import { announce } from "../parts/announcer.tsx";
import { CopyText } from "../parts/copy.tsx";
import { Confirm } from "../parts/dialog.tsx";
import { formatBytes, formatIn, formatOffset, shortFingerprint } from "../parts/format.ts";
import { Failure } from "../parts/problem.tsx";
import { Day, Time } from "../parts/time.tsx";
import { TableHead } from "../parts/table_head.tsx";
import type { NodesView, NodeView } from "../views.ts";
import { Alone } from "./alone.tsx";
import { ClusterHeading } from "./cluster_tabs.tsx";
import { Dot } from "./frame.tsx";
import { signOnTo } from "./sign_on.ts";

export function NodesPage() {
  const view = cluster.value;
  const problem = clusterProblem.value;
  return (
    <>
      <ClusterHeading current="nodes" />
      {problem !== undefined && <Failure problem={problem} retry={loadCluster} />}
      {view !== undefined && <NodesTable view={view} />}
      {view !== undefined && view.nodes.length === 1 && <Alone cluster={view.cluster} />}
    </>
  );
}

function NodesTable({ view }: { view: NodesView }) {
  const leaving = useSignal<NodeView | undefined>(undefined);
  return (
    <>
      <div class="scroller">
        <table role="table" class="cards nodes">
          <TableHead
            columns={[
              "Node",
              "Address",
              "Role",
              "Version",
              "CPU",
              "Memory",
              "CA",
              "Certificate until",
              "Clock",
              "Last seen",
            ]}
            actions="Actions"
          />
          <tbody role="rowgroup">
            {view.nodes.map((node) => (
              <NodeRow
                key={node.id}
                node={node}
                onForget={() => leaving.value = node}
              />
            ))}
          </tbody>
        </table>
      </div>
      {leaving.value !== undefined && (
        <Forget
          node={leaving.value}
          onClose={() => leaving.value = undefined}
        />
      )}
    </>
  );
}

function NodeRow({ node, onForget }: { node: NodeView; onForget: () => void }) {
  const problem = useSignal<Problem | undefined>(undefined);
  const open = async (event: MouseEvent) => {
    try {
      problem.value = undefined;
      await signOnTo(node, event);
    } catch (error) {
      problem.value = problemOf(error);
    }
  };
  return (
    <tr role="row">
      <th scope="row" role="rowheader">
        <span class="node">
          <Dot node={node} />
          <span class="name" title={`${node.name}, node id ${node.id}`}>{node.name}</span>
          {node.self && <span class="tag">this node</span>}
        </span>
        <NodeNotes node={node} />
        {problem.value !== undefined && <Failure problem={problem.value} />}
      </th>
      <td role="cell" data-label="Address" class="address" title={node.addresses.join("\n")}>
        {node.address}
      </td>
      <td role="cell" data-label="Role">
        {node.role === "master" ? <span class="tag strong">master</span> : "node"}
      </td>
      <td role="cell" data-label="Version">{node.version ?? <Unknown />}</td>
      <td role="cell" data-label="CPU">
        <Cpu node={node} />
      </td>
      <td role="cell" data-label="Memory">
        <Memory node={node} />
      </td>
      <td role="cell" data-label="CA">
        <Fingerprint hex={node.ca_fingerprint} />
      </td>
      <td role="cell" data-label="Certificate until">
        <Day at={node.certificate_not_after} />
      </td>
      <td role="cell" data-label="Clock">
        {node.self
          ? <span class="quiet">reference</span>
          : node.clock_offset_ms === null
          ? <Unknown />
          : formatOffset(node.clock_offset_ms)}
      </td>
      <td role="cell" data-label="Last seen">{node.self ? "now" : <Time at={node.last_seen} />}</td>
      <td role="cell" class="actions">
        {!node.self && node.can_sign_on && (
          <button
            type="button"
            class="sign-on"
            aria-label={`Open ${node.name}`}
            onClick={open}
          >
            Open
          </button>
        )}
        {node.state === "unreachable" && !node.self && (
          <button type="button" aria-label={`Forget ${node.name}`} onClick={onForget}>
            Forget
          </button>
        )}
      </td>
    </tr>
  );
}

/** Warnings and errors in words. */
function NodeNotes({ node }: { node: NodeView }) {
  const notes = [
    ...(node.error === null ? [] : [{ kind: "error", text: node.error }]),
    ...node.warnings.map((text) => ({ kind: "warning", text })),
  ];
  if (notes.length === 0) return null;
  return (
    <ul class="notes">
      {notes.map(({ kind, text }) => <li key={text} class={kind}>{text}</li>)}
    </ul>
  );
}

function Cpu({ node: { cpu_count, load } }: { node: NodeView }) {
  if (cpu_count === null) return <Unknown />;
  return (
    <span title="Load average of one minute, and the number of CPUs">
      {load === null ? "" : `${load.toFixed(1)} / `}
      {cpu_count}
    </span>
  );
}

function Memory({ node: { memory_total, memory_available } }: { node: NodeView }) {
  if (memory_total === null) return <Unknown />;
  const total = formatBytes(memory_total);
  if (memory_available === null) return <>{total}</>;
  const used = memory_total - memory_available;
  // Both in the unit of the larger one: "47 / 128 GiB".
  const [, unit = ""] = total.split(" ");
  return (
    <span title={`${formatBytes(used)} of ${total} are used`}>
      {`${formatIn(used, unit)} / ${total}`}
    </span>
  );
}

function Fingerprint({ hex }: { hex: string | null }) {
  if (hex === null) return <Unknown />;
  return <CopyText short={shortFingerprint(hex)} text={hex} label="SHA-256 of the CA" />;
}

function Unknown() {
  return (
    <span class="quiet">
      <span aria-hidden="true">–</span>
      <span class="unseen">unknown</span>
    </span>
  );
}

function Forget({ node, onClose }: { node: NodeView; onClose: () => void }) {
  const forget = async () => {
    await call("DELETE", `/api/cluster/nodes/${encodeURIComponent(node.id)}`);
    announce(`${node.name} is forgotten`);
    await loadCluster();
  };
  return (
    <Confirm
      title={`Forget ${node.name}?`}
      action={`Forget ${node.name}`}
      run={forget}
      onClose={onClose}
    >
      <p>
        It leaves the list until it answers again. Its certificate stays valid: to keep the host
        out, replace the CA.
      </p>
    </Confirm>
  );
}
