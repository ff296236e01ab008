import { workerGrants } from "../../sandbox/roles.ts";
import { role } from "../command.ts";

export default role({
  path: "worker",
  summary: "Run the tasks that coordinators assign",
  description:
    `Serves until it is stopped. Each task runs in its own process group, working folder and
    environment; when the task or the worker ends, everything that it started ends too. A worker that
    cannot reach a coordinator ends that coordinator's tasks before coordinator.lost_after (5m by
    default) or the task's own --lost-after has passed, so that no task runs on two workers at once.

    On SIGTERM or Ctrl-C it takes no more tasks, lets running ones continue for 5 s, and then ends
    them; the coordinator assigns them to other workers. A second signal ends everything at once. To
    let long tasks finish, run agent workers drain first; or send SIGUSR2, on which it takes no more
    tasks and ends when the running ones have ended.

    Tasks run as the user of the worker. To run them as another user, start it as root with
    --worker.user=NAME.`,
  options: {},
  config: ["worker", "peer", "log"],
  shortFlags: "worker",
  examples: [
    { line: "agent worker", does: "Work for a coordinator on this host" },
    {
      line: "agent worker --worker.coordinators=build1.lan:50055 --worker.labels=gpu=no " +
        "--peer.insecure=false",
      does: "Work for another host, with mutual TLS from the TLS directory",
    },
    {
      line: "agent worker --worker.slots=2 --worker.allow-commands=/usr/bin/make,/usr/bin/gcc",
      does: "Run two tasks at a time, and only these programs",
    },
  ],
  entry: "worker",
  grants: ({ config }) => workerGrants(config),
  beside: async (port, { config, env }) => {
    const { serveRunner } = await import("../../roles/worker_runner.ts");
    await serveRunner(port, config, env);
  },
});
