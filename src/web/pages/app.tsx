import { useEffect, useRef } from "preact/hooks";
import { clusterName } from "../model/node_data.ts";
import { isLoggedOut } from "../node_api.ts";
import { Announcer } from "../parts/announcer.tsx";
import { links, type Route, route } from "../route.ts";
import { Banners, Sidebar } from "./frame.tsx";
import { Login } from "./login.tsx";
import { NetworkPage } from "./network.tsx";
import { NodesPage } from "./nodes.tsx";
import { TaskPage } from "./task.tsx";
import { TasksPage } from "./tasks.tsx";
import { WorkersPage } from "./workers.tsx";

export function App() {
  return (
    <>
      {isLoggedOut.value ? <Login /> : <Frame />}
      <Announcer />
    </>
  );
}

function Frame() {
  const main = useRef<HTMLElement>(null);
  const { page, id } = route.value;
  const isFirst = useRef(true);
  useEffect(() => {
    document.title = `${titleOf(route.value)} · ${clusterName.value}`;
  });
  useEffect(() => {
    if (!isFirst.current) {
      // A new page is read from its heading on, also by the keyboard.
      main.current?.querySelector("h1")?.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    isFirst.current = false;
  }, [page, id]);
  return (
    <>
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to the page
      </button>
      <Sidebar />
      <main ref={main} tabIndex={-1}>
        <Banners />
        <Page route={route.value} />
      </main>
    </>
  );
}

function Page({ route: { page, id = "" } }: { route: Route }) {
  if (page === "nodes") return <NodesPage />;
  if (page === "network") return <NetworkPage />;
  if (page === "tasks") return <TasksPage />;
  if (page === "task") return <TaskPage key={id} id={id} />;
  if (page === "workers") return <WorkersPage />;
  return (
    <>
      <h1 tabIndex={-1}>There is no such page</h1>
      <p>
        <a href={links.nodes}>Go to the cluster</a>
      </p>
    </>
  );
}

function titleOf({ page, id }: Route): string {
  const titles = {
    nodes: "Nodes",
    network: "Network",
    tasks: "Tasks",
    task: `Task ${id}`,
    workers: "Workers",
    missing: "No such page",
  };
  return titles[page];
}
