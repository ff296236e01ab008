import { command } from "../command.ts";
import {
  roleArg,
  roleOfArg,
  serviceGrants,
  stateText,
  stateView,
  supervisorOf,
  userOption,
} from "../service_options.ts";

export default command({
  path: "service status",
  summary: "Show whether a role runs as a service",
  args: [roleArg],
  options: userOption,
  examples: [{ line: "agent service status node", does: "Exit 3 if it does not run" }],
  exits: { 3: "It is not installed or does not run" },
  grants: ({ env, options }) => serviceGrants(env, options),
  run: async ({ args, env, options }) => {
    const role = await roleOfArg(args[0]!);
    return stateView(await (await supervisorOf(env, options.user)).status(role));
  },
  exit: ({ running }) => running ? 0 : 3,
  text: (state) =>
    state.running
      ? stateText(state)
      : `${stateText(state)}\nNext: agent service ${
        state.installed ? "logs" : "install"
      } ${state.role}`,
});
