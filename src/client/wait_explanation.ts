import { formatDuration } from "../base/durations.ts";
import { hasResources, type Resources, showResources } from "../tasks/resources.ts";
import { matches, selectable, showLabels } from "../tasks/selectors.ts";
import {
  isFinished,
  type Labels,
  type Task,
  type TaskSpec,
  type WorkerInfo,
} from "../tasks/task.ts";

export interface Explanation {
  /** One sentence without a full stop. */
  reason: string;
  /** What would change it: a command, or a sentence. */
  next: string | null;
}

/** Why a task is in the state that it is in. */
export function explain(
  task: Task,
  workers: readonly WorkerInfo[],
  now: number,
  /** Elements of its array that are running. */
  runningElements = 0,
): Explanation {
  const last = task.attempts.at(-1);
  if (isFinished(task.state)) {
    const next = task.state === "succeeded" ? null : `agent task retry ${task.id}`;
    const reason = task.reason === undefined ? "" : `: ${task.reason}`;
    return { reason: `It has ended as ${task.state}${reason}`, next };
  }
  if (task.state === "running") {
    const since = formatDuration(Math.max(0, now - (last?.startedAt ?? last?.assignedAt ?? now)));
    const what = last?.startedAt === undefined ? "is assigned to" : "runs on";
    return {
      reason: `It ${what} worker "${last?.workerId}", for ${since} now`,
      next: `agent task logs ${task.id} --follow`,
    };
  }
  if (task.notBefore !== undefined && task.notBefore > now) {
    const wait = formatDuration(task.notBefore - now);
    const before = last === undefined
      ? ""
      : `, after attempt ${last.attempt} (${last.state}${last.reason ? `: ${last.reason}` : ""})`;
    return { reason: `It waits ${wait} before its next attempt${before}`, next: null };
  }
  const { atOnce } = task.spec;
  if (atOnce !== undefined && runningElements >= atOnce) {
    return {
      reason: `Its array runs at most ${atOnce} at once, and ${runningElements} are running`,
      next: "It starts when one of them ends",
    };
  }
  return explainQueue(task.spec, workers);
}

function explainQueue(
  { selector, resources }: TaskSpec,
  workers: readonly WorkerInfo[],
): Explanation {
  if (workers.length === 0) {
    return {
      reason: "No worker has ever connected",
      next: "agent worker --worker.coordinators=HOST:PORT, on each host that is to run tasks",
    };
  }
  const matching = workersFor(selector, workers);
  if (matching.length === 0) return unmatched(selector);
  const large = matching.filter((worker) => hasResources(worker.resources, resources));
  const wanted = showResources(resources ?? {});
  if (large.length === 0) {
    return {
      reason: `No worker that matches has ${wanted}`,
      next: "Ask for less, or set worker.resources on a host that has more",
    };
  }
  const connected = large.filter((worker) => worker.connected);
  if (connected.length === 0) {
    return {
      reason: `${names(large)} would match, but ${is(large)} not connected`,
      next: "Start agent worker there",
    };
  }
  const active = connected.filter((worker) => !worker.draining);
  if (active.length === 0) {
    return {
      reason: `${names(connected)} would match, but ${is(connected)} drained`,
      next: `agent workers resume ${connected[0]!.id}`,
    };
  }
  const healthy = active.filter((worker) => worker.health === "healthy");
  if (healthy.length === 0) {
    return {
      reason: `${names(active)} would match, but ${is(active)} late with the heartbeat`,
      next: "Look at the host and its network; it gets tasks again as soon as it is heard from",
    };
  }
  const able = healthy.filter((worker) => worker.trouble === undefined);
  if (able.length === 0) {
    const [first] = healthy;
    return {
      reason: `No worker that matches can start tasks now; "${first!.id}": ${first!.trouble}`,
      next: `Repair that on the host of "${first!.id}"`,
    };
  }
  const lacking = wanted !== "" && able.every((worker) => !hasResources(freeOf(worker), resources));
  if (lacking) {
    return {
      reason: `It waits for ${wanted}: other tasks have too much of it on ${names(able)}`,
      next: "It starts when they end",
    };
  }
  const slots = able.reduce((sum, worker) => sum + worker.slots, 0);
  const held = able.reduce((sum, worker) => sum + worker.running + worker.assigned, 0);
  return {
    reason: `It waits for a free slot: ${held} tasks are on the ${slots} slots of ${names(able)}`,
    next: "It starts when its turn comes; another worker or more worker.slots make that sooner",
  };
}

/** What a worker has left of its resources. */
function freeOf({ resources = {}, resourcesUsed = {} }: WorkerInfo): Resources {
  return Object.fromEntries(
    Object.entries(resources).map(([name, count]) => [name, count - (resourcesUsed[name] ?? 0)]),
  );
}

/** The workers that have the labels, whatever their state. */
export function workersFor(selector: Labels, workers: readonly WorkerInfo[]): WorkerInfo[] {
  return workers.filter((worker) => matches(selector, selectable(worker)));
}

/** A task that no worker that is known can ever take. */
export function unmatched(selector: Labels): Explanation {
  const isOne = Object.keys(selector).length === 1;
  return {
    reason: `No known worker has the ${isOne ? "label" : "labels"} ${showLabels(selector)}`,
    next: "Start one with --worker.labels, or see which labels there are: agent workers list",
  };
}

/** More are counted. */
const named = 3;

function names(workers: readonly WorkerInfo[]): string {
  const all = workers.map(({ id }) => `"${id}"`);
  if (all.length <= named) return all.join(", ");
  return `${all.slice(0, named).join(", ")} and ${all.length - named} more`;
}

function is(workers: readonly WorkerInfo[]): string {
  return workers.length === 1 ? "is" : "are";
}
