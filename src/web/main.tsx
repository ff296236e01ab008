/** The web UI of a node: reads the REST API of the node that served it, and nothing else. */
import { render } from "preact";
import { startNodeData } from "./model/node_data.ts";
import { App } from "./pages/app.tsx";

startNodeData();
render(<App />, document.getElementById("app")!);
