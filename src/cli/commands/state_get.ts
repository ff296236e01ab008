import { dialSettings, taskGrants, withTasks } from "../connect.ts";
import { checkNames } from "../../client/state_names.ts";
import { stateView } from "../../client/views.ts";
import { command } from "../command.ts";
import { writeJson } from "../output/write_json.ts";

export default command({
  path: "state get",
  summary: "Print the value of a key",
  description: "The bytes are written unchanged; --json shows the revision too.",
  args: [
    { name: "NS", help: "Namespace", required: true },
    { name: "KEY", help: "Key in it", required: true, completes: "state_key" },
  ],
  options: {},
  ...dialSettings,
  examples: [
    { line: "agent state get build last-commit", does: "Print the value and nothing else" },
    { line: "agent state get build last-commit --json", does: "Print it with its revision" },
  ],
  streams: true,
  grants: (request) => taskGrants(request),
  run: (request) => {
    const [namespace, key] = request.args as [string, string];
    checkNames(namespace, key);
    return withTasks(request, async (tasks) => {
      const entry = await tasks.getState(namespace, key);
      const { stdout } = request.env;
      if (request.json) await writeJson(stdout, stateView(entry));
      else await stdout.write(entry.value);
    });
  },
});
