/**
 * Who may call what: the one table of the HTTP API. A route that is not here cannot be served.
 *
 * `open` anyone · `peer` other nodes by their certificate, and users · `user` the bearer token or a
 * session of it. A peer is not a user: it may call what the pull and the sign-on between UIs need,
 * and nothing else.
 */
export type Access = "open" | "peer" | "user";

export interface RouteFacts {
  access: Access;
  summary: string;
}

export const routes = {
  "GET /api/health": { access: "open", summary: "Whether the node answers, and which it is" },
  "GET /api/openapi.json": { access: "open", summary: "This description" },
  "GET /api/session": { access: "user", summary: "The node, as its UI needs it" },
  "POST /api/session": { access: "open", summary: "Log in: a token becomes a session cookie" },
  "DELETE /api/session": { access: "user", summary: "Log out" },
  "POST /api/session/url": { access: "user", summary: "Make a login URL for one use" },
  "GET /api/cluster": { access: "user", summary: "All nodes, and who reaches whom" },
  "DELETE /api/cluster/nodes/:id": { access: "user", summary: "Forget an unreachable node" },
  "POST /api/cluster/peer_session": { access: "user", summary: "Make a login URL of another node" },
  "GET /api/cluster/node_local": {
    access: "peer",
    summary: "This node, and what changed in its view",
  },
  "GET /api/cluster/members_local": { access: "peer", summary: "All members that this node knows" },
  "POST /api/cluster/session_local": {
    access: "peer",
    summary: "Make a login URL for another node's user",
  },
  "GET /api/tasks": { access: "user", summary: "Tasks, newest first" },
  "POST /api/tasks": { access: "user", summary: "Submit a task" },
  "GET /api/tasks/:id": { access: "user", summary: "A task, or all elements of an array" },
  "POST /api/tasks/:id/cancel": { access: "user", summary: "Cancel a task" },
  "DELETE /api/tasks/:id": {
    access: "user",
    summary: "Remove a finished task with its logs and artifacts",
  },
  "POST /api/tasks/prune": {
    access: "user",
    summary: "Remove the tasks that finished more than older_than_ms ago",
  },
  "POST /api/tasks/follow": {
    access: "user",
    summary: "The output and the ends of tasks as lines of JSON, until all have ended",
  },
  "POST /api/tasks/:id/retry": { access: "user", summary: "Run a finished task again" },
  "GET /api/tasks/:id/logs": {
    access: "user",
    summary: "Logs as lines of JSON, live with follow=true",
  },
  "GET /api/tasks/:id/artifacts": { access: "user", summary: "The artifacts of a task" },
  "POST /api/tasks/:id/artifacts": {
    access: "user",
    summary: "Several small artifacts in one answer",
  },
  "GET /api/tasks/:id/artifacts/*": { access: "user", summary: "One artifact, also in ranges" },
  "GET /api/workers": { access: "user", summary: "Workers, and what they run" },
  "POST /api/workers/:id/drain": { access: "user", summary: "Give a worker nothing new" },
  "POST /api/workers/:id/resume": { access: "user", summary: "Give a drained worker tasks again" },
  "POST /api/workers/:id/forget": {
    access: "user",
    summary: "End the leases of a worker that is known to be gone",
  },
  "GET /api/state/:ns": { access: "user", summary: "The keys of a namespace" },
  "GET /api/state/:ns/:key": { access: "user", summary: "The value of a key" },
  "PUT /api/state/:ns/:key": { access: "user", summary: "Set the value of a key" },
  "DELETE /api/state/:ns/:key": { access: "user", summary: "Remove a key" },
  "GET /api/events": { access: "user", summary: "Changes as server-sent events" },
} as const satisfies Record<string, RouteFacts>;

export type Route = keyof typeof routes;

/** Who calls, once it is known. */
export type Caller =
  /** `session`: the value of its cookie. */
  | { kind: "user"; session?: string }
  | { kind: "peer" }
  | { kind: "anonymous"; reason: string };

export function isAllowed(access: Access, caller: Caller): boolean {
  if (access === "open" || caller.kind === "user") return true;
  return access === "peer" && caller.kind === "peer";
}
