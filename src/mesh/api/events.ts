/** Keeps the event log up to date with the cluster, the tasks and the workers. */
import type { ServerResponse } from "node:http";
import { taskView, workerView } from "../../client/views.ts";
import { messageOf } from "../../base/errors.ts";
import { every } from "../../base/lifetimes.ts";
import { backoffMs } from "../../base/retry.ts";
import type { TaskService } from "../../tasks/service.ts";
import { currentNodes } from "./cluster.ts";
import { alreadySent, type Node, type Serve } from "./context.ts";

/**
 * The cluster's document, without the connections: those of 300 nodes are 15 MB, and only one page
 * shows them. It is sent no more often; where only times have moved on, less so.
 */
const clusterMs = 1_000;
const clusterTimesMs = 5_000;
const workersMs = 2_000;
/** After a coordinator has gone. */
const again = { firstMs: 500, factor: 2, longestMs: 10_000 };

export function serveEvents(serve: Serve, node: Node): void {
  serve({
    "GET /api/events": (context) => {
      const { outgoing } = context.env as { outgoing: ServerResponse };
      const lastId = context.req.header("last-event-id");
      const current = () => [{ name: "cluster", data: currentNodes(node) }];
      node.events.serve(outgoing, lastId, current).catch((error) => {
        node.log.debug("an event stream broke", { reason: messageOf(error) });
        outgoing.destroy();
      });
      return alreadySent();
    },
  });
}

/** Publishes what changes until the signal aborts. */
export async function publishEvents(node: Node, signal: AbortSignal): Promise<void> {
  const parts = [publishCluster(node, signal)];
  if (node.tasks !== undefined) {
    parts.push(publishTasks(node, node.tasks, signal), publishWorkers(node, node.tasks, signal));
  }
  await Promise.all(parts);
}

async function publishCluster(node: Node, signal: AbortSignal): Promise<void> {
  let sent = "";
  let sentAt = -Infinity;
  await rounds(node, clusterMs, signal, () => {
    if (node.events.readers === 0) return;
    const view = currentNodes(node);
    const text = JSON.stringify(view, (name, value) => passing.has(name) ? undefined : value);
    const now = node.clock.monotonic();
    if (text === sent && now - sentAt < clusterTimesMs) return;
    sent = text;
    sentAt = now;
    node.events.publish("cluster", "cluster", view);
  });
}

/** Fields that change with each answer and mean nothing new. */
const passing = new Set(["last_seen", "latency_ms", "clock_offset_ms"]);

async function publishWorkers(node: Node, tasks: TaskService, signal: AbortSignal): Promise<void> {
  let sent = "";
  await rounds(node, workersMs, signal, async () => {
    if (node.events.readers === 0) return;
    const workers = (await tasks.listWorkers()).map(workerView);
    const text = JSON.stringify(workers);
    if (text === sent) return;
    sent = text;
    node.events.publish("workers", "workers", { workers });
  });
}

async function publishTasks(node: Node, tasks: TaskService, signal: AbortSignal): Promise<void> {
  for (let failures = 0; !signal.aborted;) {
    try {
      for await (const change of tasks.watchChanges(signal)) {
        failures = 0;
        if ("task" in change) {
          node.events.publish(`task ${change.task.id}`, "task", taskView(change.task));
        } else {
          const { deletedId: id } = change;
          node.events.publish(`task ${id}`, "task_deleted", { id });
        }
      }
    } catch (error) {
      node.log.debug("watching tasks failed", { reason: messageOf(error) });
    }
    if (signal.aborted) return;
    // What changed meanwhile is not repeated.
    if (failures++ === 0) node.events.reset();
    await pause(node, backoffMs(again, failures, Math.random()), signal);
  }
}

function rounds(
  { clock, log }: Node,
  periodMs: number,
  signal: AbortSignal,
  round: () => void | Promise<void>,
): Promise<void> {
  const failed = (error: unknown) =>
    log.debug("an event could not be made", { reason: messageOf(error) });
  return every({ periodMs, coarse: true, clock, signal, failed }, round);
}

async function pause({ clock }: Node, ms: number, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(ms, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
