/** Invented answers of a node: a cluster in all states, thousands of tasks, workers. */
import type {
  ArtifactView,
  ClusterView,
  NodeView,
  TaskView,
  WorkerView,
} from "../../src/web/views.ts";
import { random as randomNumbers } from "./random.ts";

const dayMs = 86_400_000;
const caOne = "3f9a1c77".padEnd(64, "0b4e9d21");
const caTwo = "c204e8b1".padEnd(64, "77a1f05c");

function ago(ms: number): string {
  return new Date(Date.now() - ms).toISOString();
}

/** A node that is well; the caller changes what is not. */
export function nodeView(id: string, name: string, changes: Partial<NodeView> = {}): NodeView {
  const address = `10.0.4.${10 + id.charCodeAt(0) % 90}:8765`;
  return {
    id,
    name,
    address,
    addresses: [address, `[fd00::${id}]:8765`],
    self: false,
    role: "node",
    state: "reachable",
    reachable: true,
    last_seen: ago(2_000),
    first_seen: ago(30 * dayMs),
    version: "0.1.0",
    started_at: ago(3 * dayMs),
    cpu_count: 32,
    load: 4.2,
    memory_total: 128 * 2 ** 30,
    memory_available: 81 * 2 ** 30,
    ca_fingerprint: caOne,
    certificate_fingerprint: id.padEnd(64, "ab"),
    certificate_not_after: ago(-640 * dayMs),
    clock_offset_ms: 12,
    latency_ms: 0.6,
    shared_identity: false,
    warnings: [],
    error: null,
    can_sign_on: true,
    ...changes,
  };
}

export function clusterView(): ClusterView {
  const nodes = [
    nodeView("a1", "gpu1", { role: "master", self: true, clock_offset_ms: null, latency_ms: null }),
    nodeView("b2", "build-01", {
      cpu_count: 16,
      load: 15.7,
      memory_total: 64 * 2 ** 30,
      memory_available: 9 * 2 ** 30,
    }),
    nodeView("c3", "gpu2", {
      certificate_not_after: ago(-21 * dayMs),
      warnings: ["The certificate ends in 21 days"],
    }),
    nodeView("d4", "gpu3", {
      version: "0.0.9",
      ca_fingerprint: caTwo,
      clock_offset_ms: -8_300,
      warnings: [
        "Version 0.0.9 differs from the majority's 0.1.0",
        "The CA differs from the majority's",
        "The clock is 8.3 s behind",
      ],
    }),
    nodeView("e5", "nas", {
      cpu_count: 4,
      load: 0.1,
      memory_total: 16 * 2 ** 30,
      memory_available: 11.3 * 2 ** 30,
      can_sign_on: false,
    }),
    nodeView("f6", "old-laptop", {
      state: "unreachable",
      reachable: false,
      last_seen: ago(2 * dayMs),
      load: null,
      memory_available: null,
      latency_ms: null,
      clock_offset_ms: null,
      can_sign_on: false,
      error: "No answer from 10.0.4.22:8765 within 3 s",
    }),
    nodeView("g7", "gpu4-clone", {
      state: "conflict",
      reachable: false,
      last_seen: ago(6_000),
      shared_identity: true,
      can_sign_on: false,
      warnings: [
        "Two running nodes claim this node id: give one of them its own",
        "Shared identity: gpu2 presents the same certificate",
      ],
    }),
  ];
  const up = (node: NodeView) => node.state !== "unreachable";
  const links = nodes.filter(up).flatMap((from, at) =>
    nodes.filter((to) => to !== from).map((to, by) => {
      const reachable = up(to) && !(from.id === "d4" && to.id === "b2");
      const latency_ms = reachable ? 0.4 + (at * 7 + by * 3) % 11 / 3 : null;
      return { from: from.id, to: to.id, reachable, latency_ms, last_seen: ago(4_000) };
    })
  );
  return { cluster: "lab", node_id: "a1", master_node_id: "a1", cut_off: false, nodes, links };
}

const commands = [
  ["/bin/sh", "-c", "./train.sh --model resnet50 --epochs 30 > train.log 2>&1"],
  ["python3", "evaluate.py", "--checkpoint", "runs/17/best.pt", "--split", "test"],
  ["make", "-j16", "all"],
  ["rsync", "-a", "--delete", "/srv/data/", "nas:/backup/data/"],
  ["ffmpeg", "-i", "talk.mkv", "-c:v", "libx265", "-crf", "24", "talk.mp4"],
  ["/bin/sh", "-c", "nvidia-smi && sleep 3"],
];

/** Finished tasks, newest first, with a few that wait or run at the top. */
export function taskViews(count: number): TaskView[] {
  const { below } = randomNumbers(7);
  const random = () => below(1_000) / 1_000;
  return Array.from({ length: count }, (_, at) => {
    const state: TaskView["state"] = at < 4 ? "running" : at < 7 ? "queued" : ([
      "succeeded",
      "succeeded",
      "succeeded",
      "failed",
      "cancelled",
      "timed_out",
      "lost",
    ] as const)[
      Math.floor(random() ** 1.6 * 7)
    ]!;
    return taskView(taskId(count - at), state, {
      submitted_at: ago(30_000 + at * 97_000),
      argv: commands[Math.floor(random() * commands.length)]!,
      tookMs: Math.floor(random() * 90_000),
    });
  });
}

/** Ids sort as they were made. */
export function taskId(number: number): string {
  return `01kb${String(number).padStart(10, "0")}`;
}

export function taskView(
  id: string,
  state: TaskView["state"],
  { submitted_at = ago(0), argv = ["uname", "-a"], tookMs = 4_000, stdout = 1_800 } = {},
): TaskView {
  const started = new Date(Date.parse(submitted_at) + 800).toISOString();
  const isOver = state !== "queued" && state !== "running";
  const finished_at = isOver ? new Date(Date.parse(started) + tookMs).toISOString() : null;
  const reasons: Partial<Record<TaskView["state"], string>> = {
    queued: 'No worker has the label "gpu=a100"',
    timed_out: "It ran longer than its timeout of 10m",
    lost: 'Worker "gpu2" has been out of touch for 5m',
    cancelled: "Cancelled by a client",
  };
  const attempt: TaskView["attempts"][number] = {
    attempt: 1,
    worker_id: `gpu${1 + Number(id.at(-1)) % 4}`,
    state,
    reason: null,
    exit_code: state === "failed" ? 2 : state === "succeeded" ? 0 : null,
    signal: null,
    assigned_at: started,
    started_at: started,
    finished_at,
    stdout_bytes: stdout,
    stderr_bytes: 240,
    superseded: false,
  };
  return {
    id,
    state,
    reason: reasons[state] ?? null,
    spec: {
      argv,
      env: { EPOCHS: "30", SEED: "7" },
      cwd: null,
      selector: { gpu: "a100" },
      timeout_ms: 600_000,
      retries: 1,
      retry_delay_ms: 0,
      max_lost: null,
      lost_after_ms: null,
      at_once: null,
      stdin_bytes: 0,
      resources: {},
      artifacts: ["out/**"],
    },
    array_id: null,
    array_index: null,
    submitted_at,
    finished_at,
    not_before: null,
    cancel_requested: false,
    submitter: null,
    attempts: state === "queued" ? [] : [attempt],
  } as TaskView;
}

export function artifactViews(): ArtifactView[] {
  const sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
  return [
    { path: "out/model.pt", size: 98_304_112, sha256, mode: "0644", attempt: 1 },
    { path: "out/metrics/loss curve.csv", size: 18_220, sha256, mode: "0644", attempt: 1 },
  ];
}

export function workerViews(): WorkerView[] {
  const worker = (id: string, changes: Partial<WorkerView>) => ({
    id,
    health: "healthy",
    connected: true,
    draining: false,
    slots: 8,
    running: 0,
    assigned: 0,
    labels: { gpu: "a100", zone: "rack-2" },
    version: "0.1.0",
    address: "10.0.4.12:51022",
    identity: `CN=${id}`,
    connected_at: ago(3 * dayMs),
    last_heartbeat_at: ago(600),
    warnings: [],
    trouble: null,
    ...changes,
  } as WorkerView);
  return [
    worker("gpu1", { running: 8, assigned: 3 }),
    worker("gpu2", { running: 1, draining: true }),
    worker("gpu3", {
      running: 2,
      health: "late",
      warnings: ["Tasks can read ca.key of this host: set worker.user"],
      last_heartbeat_at: ago(8_000),
    }),
    worker("build-01", {
      labels: {},
      slots: 16,
      trouble: "Cannot start a process: no space left in /var/lib/agent",
    }),
    worker("old-laptop", {
      health: "lost",
      connected: false,
      slots: 2,
      labels: { arch: "x86" },
      last_heartbeat_at: ago(2 * dayMs),
    }),
  ];
}
