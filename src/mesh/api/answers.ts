/** The shapes of answers as JSON schemas. Their fields are compared with the types of the views. */
import type { artifactView, stateView, TaskView, WorkerView } from "../../client/views.ts";
import { taskStates } from "../../tasks/task.ts";
import type { Route } from "../access.ts";
import type { ClusterView, EdgeView, NodeView, ReachView } from "../cluster_view.ts";
import type { Unanswered } from "./context.ts";

type Schema = Readonly<Record<string, unknown>>;

const text = { type: "string" };
const count = { type: "integer", minimum: 0 };
const number = { type: "number" };
const yes = { type: "boolean" };
const time = { type: "string", format: "date-time" };
const base64 = { type: "string", contentEncoding: "base64" };
const texts = { type: "array", items: text };
const pairs = { type: "object", additionalProperties: text };
const counts = { type: "object", additionalProperties: count };
const state = { type: "string", enum: taskStates };

const described = (schema: Schema, description: string): Schema => ({ ...schema, description });
const orNull = ({ type, ...more }: Schema): Schema => ({ type: [type, "null"], ...more });
const ref = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });
const list = (name: string): Schema => ({ type: "array", items: ref(name) });

/** Every field is there in each answer, but those after it. */
function object<T>(properties: Record<keyof T & string, Schema>, optional: object = {}): Schema {
  const required = Object.keys(properties);
  return { type: "object", properties: { ...properties, ...optional }, required };
}

const task = object<TaskView>({
  id: text,
  state: described(state, "running from when a worker has it"),
  reason: described(orNull(text), "Why it waits, or how it ended"),
  spec: {
    anyOf: [ref("Spec"), { type: "null" }],
    description: "Null only where it is said once: that of the task before",
  },
  array_id: orNull(text),
  array_index: orNull(count),
  submitted_at: time,
  finished_at: orNull(time),
  not_before: described(orNull(time), "A retry waits until then"),
  cancel_requested: yes,
  submitter: {
    anyOf: [ref("Identity"), { type: "null" }],
    description: "By the verified certificate",
  },
  attempts: list("Attempt"),
});

const taskSpec = object<TaskView["spec"]>({
  argv: texts,
  env: pairs,
  cwd: orNull(text),
  selector: pairs,
  timeout_ms: orNull(count),
  retries: count,
  retry_delay_ms: count,
  resources: counts,
  stdin_bytes: described(count, "The input itself is not shown"),
  at_once: orNull(count),
  lost_after_ms: described(orNull(count), "0: never"),
  max_lost: orNull(count),
  artifacts: texts,
});

const attempt = object<TaskView["attempts"][number]>({
  attempt: count,
  worker_id: text,
  state,
  reason: orNull(text),
  exit_code: orNull({ type: "integer" }),
  signal: orNull(text),
  assigned_at: time,
  started_at: orNull(time),
  finished_at: orNull(time),
  stdout_bytes: count,
  stderr_bytes: count,
  superseded: described(yes, "Its result came after its lease was lost"),
});

const worker = object<WorkerView>({
  id: text,
  health: { type: "string", enum: ["healthy", "late", "lost"] },
  connected: yes,
  draining: yes,
  slots: count,
  running: count,
  assigned: described(count, "Tasks that it has and has not started"),
  labels: pairs,
  version: text,
  address: text,
  identity: orNull(text),
  fingerprint: orNull(text),
  resources: counts,
  resources_used: counts,
  connected_at: orNull(time),
  last_heartbeat_at: orNull(time),
  warnings: texts,
  trouble: described(orNull(text), "Why it takes no tasks"),
});

const artifact = object<ReturnType<typeof artifactView>>({
  path: text,
  size: count,
  sha256: text,
  mode: described(text, "As in chmod: 0644"),
  attempt: count,
});

/** What is no UTF-8 is in base64, under another name. */
const textOrBase64 = (name: string) => ({ [name]: text, [`${name}_base64`]: base64 });

const entry = object<Omit<ReturnType<typeof stateView>, "value" | "value_base64">>({
  namespace: text,
  key: text,
  revision: count,
  updated_at: time,
  updated_by: { anyOf: [ref("Identity"), { type: "null" }] },
}, textOrBase64("value"));

const node = object<NodeView>({
  id: text,
  name: text,
  address: text,
  addresses: texts,
  self: yes,
  role: { type: "string", enum: ["master", "node"] },
  state: text,
  reachable: yes,
  last_seen: orNull(time),
  first_seen: time,
  version: orNull(text),
  started_at: orNull(time),
  cpu_count: orNull(count),
  load: orNull(number),
  memory_total: orNull(count),
  memory_available: orNull(count),
  ca_fingerprint: orNull(text),
  certificate_fingerprint: orNull(text),
  certificate_not_after: orNull(time),
  clock_offset_ms: orNull(number),
  latency_ms: orNull(number),
  shared_identity: yes,
  warnings: texts,
  error: orNull(text),
  can_sign_on: yes,
});

const link = object<EdgeView>({
  from: text,
  to: text,
  reachable: yes,
  latency_ms: orNull(number),
  last_seen: orNull(time),
});

const reach = object<ReachView>({
  id: text,
  reaches: described(count, "Others that it reaches"),
  reaches_of: described(count, "Of so many"),
  reached_by: count,
  reached_by_of: count,
  latency_ms: orNull(number),
});

const piece = {
  attempt: count,
  stream: { type: "string", enum: ["stdout", "stderr"] },
  offset: described(count, "Of its first byte, in its stream"),
};

export const answerSchemas: Record<string, Schema> = {
  Task: task,
  Spec: taskSpec,
  Attempt: attempt,
  Worker: worker,
  Artifact: artifact,
  StateEntry: entry,
  Node: node,
  Link: link,
  Reach: reach,
  Identity: object<{ name: string; fingerprint: string }>({ name: text, fingerprint: text }),
  Unanswered: object<Unanswered>({ coordinator: text, reason: text }),
  Piece: object<typeof piece>(piece, textOrBase64("data")),
  Followed: {
    description: "Some output, a further attempt, or an end, after which nothing comes of the task",
    anyOf: [
      object({ task_id: text, ...piece }, textOrBase64("data")),
      object({ task_id: text, begun: count }),
      object({ finished: ref("Task") }),
    ],
  },
};

const tasks = object({ tasks: list("Task") });
const unanswered = described(list("Unanswered"), "Coordinators whose part is missing");
const login = object({ url: text, expires_at: time });

/** What a route answers with: one document, or lines of them; null for no content. */
export const answers: Partial<Record<Route, Schema | null>> = {
  "GET /api/health": object({ status: text, role: text, version: text, node_id: text, name: text }),
  "GET /api/session": object({
    ...{ node_id: text, name: text, cluster: orNull(text), version: text },
    ...{ tls: yes, no_auth: yes, coordinators: texts },
  }),
  "POST /api/session": null,
  "DELETE /api/session": null,
  "POST /api/session/url": login,
  "POST /api/cluster/session_local": login,
  "POST /api/cluster/peer_session": object({ url: text }),
  "GET /api/cluster": object<Omit<ClusterView, "links">>({
    cluster: orNull(text),
    node_id: text,
    master_node_id: orNull(text),
    cut_off: described(yes, "This node itself has lost its network"),
    nodes: list("Node"),
  }, { links: list("Link"), reach: described(list("Reach"), "With links=failing") }),
  "DELETE /api/cluster/nodes/:id": null,
  "GET /api/tasks": object({ tasks: list("Task"), more: yes, unanswered }),
  "POST /api/tasks": object({
    id: described(text, "Of the task, or of the array"),
    task_ids: texts,
    existing: described(yes, "The key had been used for it before"),
  }),
  "GET /api/tasks/:id": tasks,
  "POST /api/tasks/:id/cancel": tasks,
  "POST /api/tasks/:id/retry": tasks,
  "DELETE /api/tasks/:id": described(tasks, "As they were"),
  "POST /api/tasks/prune": object({ tasks: count, bytes: count }),
  "POST /api/tasks/follow": ref("Followed"),
  "GET /api/tasks/:id/logs": ref("Piece"),
  "GET /api/tasks/:id/artifacts": object({ artifacts: list("Artifact") }),
  "POST /api/tasks/:id/artifacts": object({
    files: described({ type: "array", items: base64 }, "In the order of the paths"),
  }),
  "GET /api/workers": object({ workers: list("Worker"), unanswered }),
  "POST /api/workers/:id/drain": ref("Worker"),
  "POST /api/workers/:id/resume": ref("Worker"),
  "POST /api/workers/:id/forget": described(ref("Worker"), "As it was"),
  "GET /api/state/:ns": object({ entries: list("StateEntry") }),
  "GET /api/state/:ns/:key": ref("StateEntry"),
  "PUT /api/state/:ns/:key": ref("StateEntry"),
  "DELETE /api/state/:ns/:key": object({ revision: count }),
};
