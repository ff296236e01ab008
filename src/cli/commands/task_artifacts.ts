import { join } from "node:path";
import { dialSettings, taskGrants, withTasks } from "../connect.ts";
import { commonId, findTask } from "../../client/find_task.ts";
import { widthOf } from "../output/terminal.ts";
import { table } from "../output/table.ts";
import { artifactView } from "../../client/views.ts";
import { printable } from "../../base/printable.ts";
import { formatBytes } from "../../base/format_bytes.ts";
import { counted } from "../output/format.ts";
import type { Output } from "../../base/env.ts";
import type { Task } from "../../tasks/task.ts";
import { taskArgument } from "../change_tasks.ts";
import { command } from "../command.ts";

export default command({
  path: "task artifacts",
  summary: "List the files that a task left, or save them",
  description:
    `With -o, each file is saved in DIR under its path in the task's folder, and its checksum
    is verified; those of an array go into a folder for each index. Existing files are overwritten
    only with --force.`,
  args: [taskArgument],
  options: {
    output: { short: "o", kind: "path", placeholder: "DIR", help: "Folder to save the files in" },
    force: { kind: "flag", help: "Overwrite existing files" },
  },
  ...dialSettings,
  examples: [
    { line: "agent task artifacts 01jd3p9x", does: "Show paths, sizes and checksums" },
    { line: "agent task artifacts 01jd3p9x -o results", does: "Save them below results/" },
    { line: "agent task artifacts @last -o results", does: "Save those of the newest task" },
  ],
  exits: { 3: "A file exists already (--force overwrites it), or plaintext was refused" },
  grants: (request) => {
    const { output } = request.options;
    return taskGrants(request, output === undefined ? {} : { read: [output], write: [output] });
  },
  run: (request) =>
    withTasks(request, async (tasks) => {
      const { options, args, env } = request;
      const found = await findTask(tasks, args[0]!);
      const of = async (task: Task, folder: string | undefined) => {
        const taskId = task.id;
        const artifacts = await tasks.listArtifacts(taskId);
        const view = { task_id: taskId, artifacts: artifacts.map(artifactView) };
        if (folder === undefined) return { ...view, saved: null };
        const { saveArtifacts } = await import("../../client/save_artifacts.ts");
        const { force } = options;
        const counter = countOn(env.stderr, artifacts.length);
        const saving = { tasks, taskId, artifacts, folder, force, signal: env.signal };
        try {
          return { ...view, saved: await saveArtifacts({ ...saving, saved: counter.count }) };
        } finally {
          await counter.end();
        }
      };
      if (found.length === 1) return await of(found[0]!, options.output);
      const all = [];
      for (const task of found) {
        const index = String(task.arrayIndex);
        all.push(await of(task, options.output && join(options.output, index)));
      }
      return { id: commonId(found), tasks: all };
    }),
  text(result, { env }) {
    const all = "tasks" in result ? result.tasks : [result];
    if (all.some(({ saved }) => saved !== null)) {
      const saved = all.flatMap(({ saved }) => saved ?? []);
      return saved.map((path) => `${printable(path)}\n`).join("") +
        (env.stdout.isTerminal ? `Saved ${counted(saved.length, "file")}\n` : "");
    }
    const rows = all.flatMap(({ task_id, artifacts }) =>
      artifacts.map(({ path, size, sha256 }) => [
        ...all.length > 1 ? [task_id] : [],
        formatBytes(size),
        env.stdout.isTerminal ? `${sha256.slice(0, 12)}…` : sha256,
        printable(path),
      ])
    );
    if (rows.length === 0) return env.stdout.isTerminal ? "There are no artifacts" : "";
    const columns = [
      ...all.length > 1 ? [{ title: "TASK" }] : [],
      { title: "SIZE", right: true },
      { title: "SHA-256", dropOrder: 1 },
      { title: "PATH", flexible: true },
    ];
    return table(columns, rows, { width: widthOf(env.stdout) });
  },
});

/** How often the count on a terminal changes. */
const countEveryMs = 100;

/** One line that counts, on a terminal only; it is gone at the end. */
function countOn(output: Output, total: number) {
  let [last, isShown] = [performance.now(), false];
  const show = (text: string) => output.write(`\r\x1b[2K${text}`);
  return {
    count(count: number) {
      if (!output.isTerminal || performance.now() - last < countEveryMs) return;
      [last, isShown] = [performance.now(), true];
      void show(`Saving ${count} of ${counted(total, "file")}`);
    },
    end: async () => {
      if (isShown) await show("");
    },
  };
}
