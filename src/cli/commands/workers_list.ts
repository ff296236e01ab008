import { workerView } from "../../client/views.ts";
import { command } from "../command.ts";
import { dialSettings, taskGrants, withTasks } from "../connect.ts";
import { widthOf } from "../output/terminal.ts";
import { watchWorkers } from "../output/watch_workers.ts";
import { workersPage } from "../output/workers_page.ts";
import { writeJson } from "../output/write_json.ts";

export default command({
  path: "workers list",
  summary: "Show the workers, their health and what they run",
  description:
    `A worker is healthy while its last heartbeat is less than 5 seconds old, late up to 15
    seconds, and lost after that. Its identity comes from its verified certificate.`,
  options: { watch: { kind: "flag", help: "Keep showing changes until Ctrl-C" } },
  ...dialSettings,
  examples: [
    { line: "agent workers list", does: "Show one worker a line, with warnings below" },
    { line: "agent workers list --watch", does: "Show a table that stays up to date" },
    { line: "agent workers list --json", does: "The same for programs" },
  ],
  grants: (request) => taskGrants(request),
  streams: true,
  run: (request) =>
    withTasks(request, async (tasks) => {
      const { options, env, json } = request;
      if (options.watch) return await watchWorkers({ tasks, env, json });
      const workers = (await tasks.listWorkers()).map(workerView);
      if (json) return await writeJson(env.stdout, { workers });
      await env.stdout.write(workersPage(workers, env, widthOf(env.stdout)));
    }),
});
