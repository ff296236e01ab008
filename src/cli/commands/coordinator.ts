import { coordinatorGrants } from "../../sandbox/roles.ts";
import { role } from "../command.ts";

export default role({
  path: "coordinator",
  summary: "Accept tasks and assign them to workers",
  description:
    `Serves until it is stopped. Everything that it has accepted is on disk and survives a
    crash; workers that lose the connection keep their tasks running and reconnect. An orderly stop
    tells them to wait for 10 minutes, so that a restart interrupts no task.

    To serve other hosts, turn TLS on: agent tls init, then --peer.insecure=false.`,
  options: {},
  config: ["coordinator", "peer", "log"],
  shortFlags: "coordinator",
  examples: [
    { line: "agent coordinator", does: "Serve this host only, without TLS" },
    {
      line: "agent coordinator --coordinator.host=0.0.0.0 --coordinator.advertise=build1.lan " +
        "--peer.insecure=false",
      does: "Serve other hosts, with mutual TLS from the TLS directory",
    },
    {
      line: "agent coordinator --coordinator.port=0 --coordinator.health-port=0 --json",
      does: "Listen on a free port, which the ready line names",
    },
  ],
  entry: "coordinator",
  grants: ({ config }) => coordinatorGrants(config),
});
