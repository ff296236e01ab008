import { formatDuration } from "../../base/durations.ts";
import { lastTask } from "../../client/find_task.ts";
import type { TaskService } from "../../tasks/service.ts";
import { isFinished, type Task, taskStates, type WorkerInfo } from "../../tasks/task.ts";
import { command, liveKinds } from "../command.ts";
import type { Candidate } from "../complete.ts";
import { dialSettings, taskGrants, withTasks } from "../connect.ts";
import { completionLines } from "../output/completion_lines.ts";
import { counted, shellLine } from "../output/format.ts";

/** So many of the newest tasks are offered: a longer list is of no use to a person. */
const newest = 200;

export default command({
  path: "completion ids",
  summary: "Print the ids that may follow, for the completion script of a shell",
  hidden: true,
  options: {
    kind: { kind: "choice", choices: liveKinds, required: true, help: "What is completed" },
    namespace: { kind: "text", default: "", help: "Of a state key" },
    typed: { kind: "text", default: "", help: "The beginning" },
    prefix: { kind: "text", default: "", help: "What to print before each" },
    except: { kind: "text", repeat: true, help: "What the line names already" },
  },
  ...dialSettings,
  examples: [{ line: "agent completion ids --kind worker", does: "Print the ids of workers" }],
  grants: (request) => taskGrants(request),
  run: (request) =>
    withTasks(request, async (tasks) => {
      const { kind, namespace, typed, prefix, except } = request.options;
      const now = request.env.clock.now();
      const all = kind === "worker"
        ? (await tasks.listWorkers()).map(workerCandidate)
        : kind === "state_key"
        ? await stateKeys(tasks, namespace, typed, now)
        : taskCandidates(await listed(tasks, kind), typed, now);
      return all.filter(({ word }) => word.startsWith(typed) && !except.includes(word))
        .map(({ word, does }) => ({ word: `${prefix}${word}`, does }));
    }),
  text: completionLines,
});

async function listed(tasks: TaskService, kind: "task" | "open_task" | "finished_task") {
  const states = taskStates.filter((state) => isFinished(state) === (kind === "finished_task"));
  const which = kind === "task" ? {} : { states };
  return (await tasks.listTasks({ limit: newest, ...which })).tasks;
}

/** Elements of an array are offered when its id and the dot are there. */
function taskCandidates(tasks: Task[], typed: string, now: number): Candidate[] {
  const found = new Map<string, Candidate>();
  if (tasks.length > 0) found.set(lastTask, { word: lastTask, does: "The newest" });
  for (const { id, arrayId, state, submittedAt, spec } of tasks) {
    const word = arrayId === undefined || typed.includes(".") ? id : arrayId;
    const what = word === id ? state : "array";
    const age = formatDuration(Math.max(0, now - submittedAt));
    if (!found.has(word)) {
      found.set(word, { word, does: `${what}, ${age} old: ${shellLine(spec.argv)}` });
    }
  }
  return [...found.values()];
}

function workerCandidate({ id, health, draining, running, slots }: WorkerInfo): Candidate {
  const state = draining ? `${health}, draining` : health;
  return { word: id, does: `${state}, ${running} of ${counted(slots, "slot")} used` };
}

async function stateKeys(tasks: TaskService, namespace: string, typed: string, now: number) {
  return (await tasks.listState(namespace, typed)).map(({ key, revision, updatedAt }) => ({
    word: key,
    does: `revision ${revision}, ${formatDuration(Math.max(0, now - updatedAt))} old`,
  }));
}
