import { coordinatorGrants } from "../../sandbox/roles.ts";
import { role } from "../command.ts";

export default role({
  path: "coordinator",
  summary: "Accept tasks and hand them to workers",
  description: `Serves until it is stopped. Everything that it accepted is on disk and outlives a
    crash; workers that are cut off go on with what they run and come back. A stop in good order
    tells them to wait for 10 minutes, so that a restart disturbs no task.

    Beyond this host it needs TLS: agent tls init, then --peer.insecure=false.`,
  options: {},
  config: ["coordinator", "peer", "log"],
  shortFlags: "coordinator",
  examples: [
    { line: "agent coordinator", does: "For this host only, without TLS" },
    {
      line: "agent coordinator --coordinator.host=0.0.0.0 --coordinator.advertise=build1.lan " +
        "--peer.insecure=false",
      does: "For other hosts, with mutual TLS from the TLS directory",
    },
    {
      line: "agent coordinator --coordinator.port=0 --coordinator.health-port=0 --json",
      does: "On any free port, which the ready line tells",
    },
  ],
  entry: "coordinator",
  grants: ({ config }) => coordinatorGrants(config),
});
