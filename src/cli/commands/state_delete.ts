import { dialSettings, taskGrants, withTasks } from "../connect.ts";
import { orConflict } from "../output/state_conflict.ts";
import { checkNames } from "../../client/state_names.ts";
import { command } from "../command.ts";

export default command({
  path: "state delete",
  summary: "Remove a key",
  description: `Prints the revision of the removal. With --if-revision, the key is removed only if
    that is still its revision; otherwise the current revision is printed, and the exit code is 1.`,
  args: [
    { name: "NS", help: "Namespace", required: true },
    { name: "KEY", help: "Key in it", required: true, completes: "state_key" },
  ],
  options: {
    ifRevision: { kind: "integer", min: 1, help: "Remove it only if this is its current revision" },
  },
  ...dialSettings,
  examples: [{ line: "agent state delete build lock", does: "Release a lock" }],
  exits: { 1: "Failed, or --if-revision is not the current revision" },
  grants: (request) => taskGrants(request),
  run: (request) => {
    const { args, options, env, json } = request;
    const [namespace, key] = args as [string, string];
    checkNames(namespace, key);
    return withTasks(request, async (tasks) => {
      const change = () => tasks.deleteState(namespace, key, options.ifRevision);
      const { revision } = await orConflict({ env, json, key }, change);
      return { namespace, key, revision };
    });
  },
  text: ({ revision }) => String(revision),
});
