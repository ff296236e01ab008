/** Pages by the fragment of the address: deep links that need nothing from the server. */
import { computed, signal } from "@preact/signals";

export interface Route {
  page: "nodes" | "network" | "tasks" | "task" | "workers" | "missing";
  /** Of the task page. */
  id?: string;
  /** What follows "?". */
  query: URLSearchParams;
}

const fragment = signal(location.hash);
addEventListener("hashchange", () => fragment.value = location.hash);

export const route = computed(() => parseRoute(fragment.value));

export function parseRoute(hash: string): Route {
  const [path = "", search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const query = new URLSearchParams(search);
  const [first = "", ...rest] = path.split("/");
  const id = rest.map(decodeURIComponent).join("/");
  if (first === "" || first === "cluster" && id === "") return { page: "nodes", query };
  if (first === "cluster" && id === "network") return { page: "network", query };
  if (first === "tasks") return id === "" ? { page: "tasks", query } : { page: "task", id, query };
  if (first === "workers" && id === "") return { page: "workers", query };
  return { page: "missing", query };
}

export const links = {
  nodes: "#/cluster",
  network: "#/cluster/network",
  tasks: "#/tasks",
  workers: "#/workers",
  task: (id: string) => `#/tasks/${encodeURIComponent(id)}`,
  /** The list with a filter; empty values are left out. */
  tasksWith: (filter: Record<string, string>) => {
    const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value !== ""));
    return query.size === 0 ? "#/tasks" : `#/tasks?${query}`;
  },
};

export function goTo(link: string): void {
  location.hash = link;
}

/** Changes the address without a step in the history: a filter that is being typed. */
export function replaceRoute(link: string): void {
  history.replaceState(null, "", link);
  fragment.value = link;
}
