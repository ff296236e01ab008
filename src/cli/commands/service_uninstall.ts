import { command } from "../command.ts";
import {
  requireRoot,
  roleArg,
  roleOfArg,
  serviceGrants,
  stateView,
  supervisorOf,
  userOption,
} from "../service_options.ts";

export default command({
  path: "service uninstall",
  summary: "Stop a role that runs as a service, and remove the service",
  description: "Stops the role as SIGTERM does. Its data and certificates " +
    "stay where they are.",
  args: [roleArg],
  options: userOption,
  examples: [{ line: "agent service uninstall node", does: "This host leaves the mesh" }],
  graceMs: 35_000,
  grants: ({ env, options }) => serviceGrants(env, options),
  run: async ({ args, env, options }) => {
    const role = await roleOfArg(args[0]!);
    const manager = await supervisorOf(env, options.user);
    requireRoot(options.user, manager.kind);
    return stateView(await manager.uninstall(role));
  },
  text: ({ role }) => `agent ${role} is stopped and no longer a service`,
});
