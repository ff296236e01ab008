import { command } from "../command.ts";
import {
  drainOption,
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
    "Stops it as on SIGTERM, starts it with the same flags, and waits until it is ready. A worker " +
    "ends tasks that run longer than a few seconds, and they run again elsewhere; with --drain it " +
    "takes no more tasks and lets them end.",
  args: [roleArg],
  options: { ...userOption, ...drainOption },
  examples: [
    { line: "agent service restart node", does: "After a change of config.yaml" },
    { line: "agent service restart worker --drain 1h", does: "When its tasks have ended" },
  ],
  graceMs: 65_000,
  grants: ({ env, options }) => serviceGrants(env, options),
  run: async ({ args, env, options }) => {
    const role = await roleOfArg(args[0]!);
    const manager = await supervisorOf(env, options.user);
    requireRoot(options.user, manager.kind);
    return stateView(await manager.restart(role, options.drain));
  },
  text: stateText,
});
