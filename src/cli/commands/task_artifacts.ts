import { clientGrants } from "../../sandbox/roles.ts";
import { dialSettings, withTasks } from "../connect.ts";
import { commonId, findTask } from "../../client/find_task.ts";
import { widthOf } from "../output/terminal.ts";
import { table } from "../output/table.ts";
import { artifactView } from "../../client/views.ts";
import { printable } from "../../base/printable.ts";
import { formatBytes } from "../../base/format_bytes.ts";
import { counted } from "../output/format.ts";
import { UsageError } from "../../base/errors.ts";
import { taskArgument } from "../change_tasks.ts";
import { command } from "../command.ts";

export default command({
  path: "task artifacts",
  summary: "List the files that a task left, or save them",
  description:
    `With -o, each file is saved in DIR under its path in the task's folder, and its checksum
    is verified. Existing files are overwritten only with --force.`,
  args: [taskArgument],
  options: {
    output: { short: "o", kind: "path", placeholder: "DIR", help: "Folder to save the files in" },
    force: { kind: "flag", help: "Overwrite existing files" },
  },
  ...dialSettings,
  examples: [
    { line: "agent task artifacts 01jd3p9x", does: "Show paths, sizes and checksums" },
    { line: "agent task artifacts 01jd3p9x -o results", does: "Save them below results/" },
  ],
  exits: { 3: "A file exists already (--force overwrites it), or plaintext was refused" },
  grants: ({ config, options: { output } }) =>
    clientGrants(config, output === undefined ? {} : { read: [output], write: [output] }),
  run: (request) =>
    withTasks(request, async (tasks) => {
      const { options, args, env } = request;
      const found = await findTask(tasks, args[0]!);
      if (found.length > 1) {
        throw new UsageError(
          `"${args[0]}" is an array; each of its elements has its own artifacts`,
          {
            next: `agent task show ${commonId(found)}`,
          },
        );
      }
      const taskId = found[0]!.id;
      const artifacts = await tasks.listArtifacts(taskId);
      const folder = options.output;
      const { force } = options;
      const view = { task_id: taskId, artifacts: artifacts.map(artifactView) };
      if (folder === undefined) return { ...view, saved: null };
      const { saveArtifacts } = await import("../../client/save_artifacts.ts");
      const saving = { tasks, taskId, artifacts, folder, force, signal: env.signal };
      return { ...view, saved: await saveArtifacts(saving) };
    }),
  text({ task_id, artifacts, saved }, { env }) {
    if (saved !== null) {
      return saved.map((path) => `${printable(path)}\n`).join("") +
        (env.stdout.isTerminal ? `Saved ${counted(saved.length, "file")}\n` : "");
    }
    if (artifacts.length === 0) return env.stdout.isTerminal ? `${task_id} left no artifacts` : "";
    const columns = [{ title: "SIZE", right: true }, { title: "SHA-256" }, {
      title: "PATH",
      flexible: true,
    }];
    const rows = artifacts.map(({ path, size, sha256 }) => [
      formatBytes(size),
      env.stdout.isTerminal ? `${sha256.slice(0, 12)}…` : sha256,
      printable(path),
    ]);
    return table(columns, rows, { width: widthOf(env.stdout) });
  },
});
