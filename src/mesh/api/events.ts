/** Keeps the event log up to date with the cluster, the tasks and the workers. */
import type { ServerResponse } from "node:http";
import { taskView, workerView } from "../../client/views.ts";
import { messageOf } from "../../base/errors.ts";
import { every } from "../../base/lifetimes.ts";
import { backoffMs } from "../../base/retry.ts";
import type { TaskChange, TaskService } from "../../tasks/service.ts";
import { currentNodes } from "./cluster.ts";
import { alreadySent, type Node, type Serve } from "./context.ts";

/**
 * The cluster's document, without the connections: those of 300 nodes are 15 MB, and only one page
 * shows them. It is sent no more often; where only times have moved on, less so.
 */
const clusterMs = 1_000;
const clusterTimesMs = 5_000;
const workersMs = 2_000;
/** Tasks are watched for this long after the last reader has gone: most come back sooner. */
const unreadMs = 60_000;
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
    const answer = { workers, unanswered: node.unanswered() };
    const text = JSON.stringify(answer);
    if (text === sent) return;
    sent = text;
    node.events.publish("workers", "workers", answer);
  });
}

/**
 * Watches tasks while someone reads: each change of each task goes to every node that watches, so on the
 * nodes that nobody looks at it would be most of the work.
 */
async function publishTasks(node: Node, tasks: TaskService, signal: AbortSignal): Promise<void> {
  for (let failures = 0; await node.events.isRead(signal);) {
    const watch = new AbortController();
    const stop = () => watch.abort(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    void abortWhenUnread(node, watch);
    try {
      const changes = tasks.watchChanges(watch.signal, true)[Symbol.asyncIterator]();
      const first = changes.next();
      // Asked later on the same connections: what changes from here on is told. What changed before is not.
      tasks.listTasks({ limit: 1 }).then(
        () => node.events.reset(),
        () => {/* So fails the watch. */},
      );
      for (let change = await first; !change.done; change = await changes.next()) {
        failures = 0;
        publishChange(node, change.value);
      }
    } catch (error) {
      node.log.debug("watching tasks failed", { reason: messageOf(error) });
    }
    signal.removeEventListener("abort", stop);
    if (signal.aborted) return;
    const isUnread = watch.signal.aborted;
    watch.abort();
    // A reader that comes back later has missed something.
    if (failures === 0 || isUnread) node.events.reset();
    if (isUnread) continue;
    await pause(node, backoffMs(again, ++failures, Math.random()), signal);
  }
}

function publishChange({ events }: Node, change: TaskChange): void {
  if ("task" in change) events.publish(`task ${change.task.id}`, "task", taskView(change.task));
  else events.publish(`task ${change.deletedId}`, "task_deleted", { id: change.deletedId });
}

async function abortWhenUnread(node: Node, watch: AbortController): Promise<void> {
  let readAt = node.clock.monotonic();
  await rounds(node, unreadMs / 10, watch.signal, () => {
    const now = node.clock.monotonic();
    if (node.events.readers > 0) readAt = now;
    else if (now - readAt > unreadMs) watch.abort();
  });
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
