import { links } from "../route.ts";

/** Heading and tabs of the Cluster view; the tabs are links, since each has its own address. */
export function ClusterHeading({ current }: { current: "nodes" | "network" }) {
  return (
    <div class="heading">
      <h1 tabIndex={-1}>Cluster</h1>
      <nav class="tabs" aria-label="Cluster">
        <a href={links.nodes} aria-current={current === "nodes" ? "page" : undefined}>Nodes</a>
        <a href={links.network} aria-current={current === "network" ? "page" : undefined}>
          Network
        </a>
      </nav>
    </div>
  );
}
