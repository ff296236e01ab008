import { workerGrants } from "../../sandbox/roles.ts";
import { role } from "../command.ts";

export default role({
  path: "worker",
  summary: "Run tasks that coordinators hand out",
  description: `Serves until it is stopped. Each task runs in a process group, a working folder and
    an environment of its own; when it ends, or the worker does, whatever it started ends too. A
    worker that is cut off from a coordinator ends that one's tasks after 11 s, before they can be
    given to another.

    Told to stop (SIGTERM, Ctrl-C), it takes no more work, lets running tasks go on for 5 s, and then
    ends them; the coordinator hands them to others. The second signal ends everything at once. To
    let long tasks finish, use agent workers drain first.

    Tasks run with the rights of the worker's user: start it as root with --worker.user=NAME to
    have them run as another.`,
  options: {},
  config: ["worker", "peer", "log"],
  shortFlags: "worker",
  examples: [
    { line: "agent worker", does: "For a coordinator on this host" },
    {
      line: "agent worker --worker.coordinators=build1.lan:50055 --worker.labels=gpu=no " +
        "--peer.insecure=false",
      does: "For another host's, with mutual TLS from the TLS directory",
    },
    {
      line: "agent worker --worker.slots=2 --worker.allow-commands=/usr/bin/make,/usr/bin/gcc",
      does: "Two tasks at a time, and only these programs",
    },
  ],
  entry: "worker",
  grants: ({ config }) => workerGrants(config),
  beside: async (port, { config, env }) => {
    const { serveRunner } = await import("../../roles/worker_runner.ts");
    await serveRunner(port, config, env);
  },
});
