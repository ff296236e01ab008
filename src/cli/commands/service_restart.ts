import { command } from "../command.ts";
import {
  requireRoot,
  roleArg,
  roleOfArg,
  serviceGrants,
  stateText,
  stateView,
  supervisorOf,
  userOption,
} from "../service_options.ts";

export default command({
  path: "service restart",
  summary: "Restart a role that runs as a service",
  description:
    "Stops it as on SIGTERM, starts it with the same flags, and waits until it is ready.",
  args: [roleArg],
  options: userOption,
  examples: [{ line: "agent service restart node", does: "After a change of config.yaml" }],
  graceMs: 65_000,
  grants: ({ env, options }) => serviceGrants(env, options),
  run: async ({ args, env, options }) => {
    const role = await roleOfArg(args[0]!);
    const manager = await supervisorOf(env, options.user);
    requireRoot(options.user, manager.kind);
    return stateView(await manager.restart(role));
  },
  text: stateText,
});
