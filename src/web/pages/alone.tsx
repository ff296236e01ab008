import { Command } from "../parts/copy.tsx";
import { Empty } from "../parts/problem.tsx";

/** In place of other nodes: how one is started. */
export function Alone({ cluster }: { cluster: string | null }) {
  return (
    <Empty title={cluster === null ? "This node stands alone" : "No other node is here yet"}>
      <p>Start another one, on a host of the same network:</p>
      <Command line={`agent node -H 0.0.0.0 --cluster ${cluster ?? "lab"}`} />
      {cluster === null && (
        <p class="quiet">This node has to be started with the same cluster name.</p>
      )}
    </Empty>
  );
}
