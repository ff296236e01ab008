/** Requests that are large within what is allowed: the node does something else in between. */
import type { EdgeView, ReachView } from "../../src/mesh/cluster_view.ts";
import { spec } from "../support/spec.ts";
import assert from "node:assert/strict";
import { measureEventLoopLag } from "../../src/base/event_loop_lag.ts";
import { oneOfSeveral } from "../../src/client/one_of_several.ts";
import type { Task } from "../../src/tasks/task.ts";
import type { TaskService } from "../../src/tasks/service.ts";
import type { Membership } from "../../src/mesh/membership.ts";
import type { ViewEntry } from "../../src/mesh/protocol.ts";
import { ask, nodeApi, selfId } from "../support/node_api.ts";

const task = (index: number): Task => ({
  id: `t.${index}`,
  spec: spec({ argv: ["render", `--frame=${index}`], env: { SCENE: "s".repeat(1_000) } }),
  state: "queued",
  submittedAt: 0,
  finishedAt: undefined,
  notBefore: undefined,
  reason: undefined,
  attempts: [],
  arrayId: "t",
  arrayIndex: index,
  cancelRequested: false,
});

function arrayOf(tasks: Task[]): TaskService {
  const coordinator = { getTask: () => Promise.resolve(tasks) } as unknown as TaskService;
  return oneOfSeveral([{ address: "test:1", tasks: coordinator }], {
    unanswered: () => {},
    again: (send) => send(),
  });
}

/**
 * Asks for that path, and checks that the event loop is never held for 50 ms meanwhile.
 *
 * @returns the bytes of the answer; of an endless one those of its beginning.
 */
async function heldBy(port: number, path: string, init: RequestInit = {}): Promise<number> {
  let least = Infinity;
  let bytes = 0;
  // The machine may hold the process as well, but hardly each time.
  for (let round = 0; round < 8 && least >= 0.05; round++) {
    using lag = measureEventLoopLag();
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, init);
    const isEndless = /event-stream/.test(answer.headers.get("content-type") ?? "");
    bytes = 0;
    for await (const part of answer.body!) {
      bytes += part.length;
      if (isEndless && bytes > 1_000) break;
    }
    least = Math.min(least, lag.longestSeconds());
  }
  const what = `${path} ${String(init.body ?? "").slice(0, 20)}`;
  assert.ok(least < 0.05, `${what} held the event loop for ${least} s`);
  return bytes;
}

const nodeCount = 300;
const idOf = (n: number) => `${n.toString(16).padStart(8, "0")}-0000-4000-8000-000000000000`;

/** Lets the membership know as many nodes as a large cluster has, each of which reaches all others. */
function fill(membership: Membership): void {
  const at = { now: performance.now(), wall: Date.now() };
  const entries = Array.from({ length: nodeCount }, (_, n): ViewEntry => ({
    id: idOf(n),
    name: `node-${n}.a-laboratory.example`,
    addresses: [`10.0.${n >> 8}.${n & 255}:8765`, `192.168.${n >> 8}.${n & 255}:8765`],
    reachable: true,
    latency_ms: 1.5,
    last_seen: null,
  }));
  const observed = {
    latencyMs: 1.5,
    clockOffsetMs: 3,
    certificateFingerprint: "f".repeat(64),
    certificateNotAfter: at.wall,
    caFingerprint: "c".repeat(64),
  };
  for (const [n, entry] of entries.entries()) {
    if (entry.gone) continue;
    const { id, name, addresses } = entry;
    const node = {
      ...{ id, name, addresses, instance: n.toString(16).padStart(16, "0"), cluster: "lab" },
      ...{ version: "1.0.0", started_at: at.wall, cpu_count: 8, load: 1 },
      ...{ memory_total: 2 ** 34, memory_available: 2 ** 33 },
    };
    const answer = { node, revision: 1, since: null, members: entries };
    membership.answered(addresses[0]!, answer, observed, at);
  }
}

Deno.test("of 300 nodes, no route holds the event loop", async () => {
  await using api = await nodeApi(undefined, { noAuth: true });
  fill(api.node.membership);
  const bytes: Record<string, number> = {};
  for (
    const path of [
      "/api/cluster",
      "/api/cluster?links=false",
      "/api/cluster?links=failing",
      "/api/cluster/node_local",
      "/api/cluster/members_local",
      "/api/events",
      "/api/openapi.json",
    ]
  ) bytes[path] = await heldBy(api.port, path);
  assert.ok(bytes["/api/cluster"]! > 10_000_000, `${bytes["/api/cluster"]} bytes`);
  const view = JSON.parse((await ask(api.port, "/api/cluster")).text);
  assert.deepEqual([view.nodes.length, view.node_id], [nodeCount + 1, selfId]);
  // From this node to each, and from each to the others; of itself each says nothing that counts.
  assert.equal(view.links.length, nodeCount + nodeCount * nodeCount);

  // Counted, they are small enough for a page that loads them every few seconds.
  const counted = bytes["/api/cluster?links=failing"]!;
  assert.ok(counted < 500_000, `${counted} bytes`);
  const network = JSON.parse((await ask(api.port, "/api/cluster?links=failing")).text);
  const failing = view.links.filter(({ reachable }: EdgeView) => !reachable);
  assert.deepEqual(network.links, failing);
  for (const { id, ...counts } of network.reach as ReachView[]) {
    const from = view.links.filter((link: EdgeView) => link.from === id);
    const to = view.links.filter((link: EdgeView) => link.to === id);
    const up = (links: EdgeView[]) => links.filter(({ reachable }) => reachable);
    assert.deepEqual([counts.reaches, counts.reaches_of], [up(from).length, from.length]);
    assert.deepEqual([counts.reached_by, counts.reached_by_of], [up(to).length, to.length]);
  }
});

Deno.test("bad input does not hold the event loop", async () => {
  await using api = await nodeApi(undefined, { noAuth: true, tasks: arrayOf([]) });
  const json = { "content-type": "application/json" };
  const megabyte = 2 ** 20;
  const bodies = {
    fields: `{${Array.from({ length: 150_000 }, (_, i) => `"k${i}":1`).join()}}`,
    depth: "[".repeat(2 * megabyte),
    argv: `{"argv":[${'"x",'.repeat(megabyte / 4)}"x"]}`,
    glob: JSON.stringify({ argv: ["x"], artifacts: ["*/".repeat(megabyte / 2)] }),
    line: JSON.stringify({ command: "\\'".repeat(megabyte / 4), shell: true }),
    array: JSON.stringify({ argv: ["x"], array: "0-9,".repeat(megabyte / 8) }),
  };
  for (const body of Object.values(bodies)) {
    await heldBy(api.port, "/api/tasks", { method: "POST", headers: json, body });
  }
  const ids = Array.from({ length: 10_000 }, (_, index) => `0123456789abcd.${index}`);
  const positions = ids.map((task_id) => ({ task_id, attempt: 1, stdout_offset: 1 }));
  const follow = JSON.stringify({ ids, positions });
  await heldBy(api.port, "/api/tasks/follow", { method: "POST", headers: json, body: follow });
  const long = "%41".repeat(5_000);
  for (const path of [`/${long}`, `/api/state/${long}/x`, `/api/tasks?state=${long}`]) {
    await heldBy(api.port, path);
  }
  await heldBy(api.port, "/", { headers: { cookie: "a=b;".repeat(3_000) } });
  await heldBy(api.port, "/api/health", {
    headers: { "x-forwarded-for": "1.1.1.1,".repeat(1_500) },
  });
});

Deno.test("an array of 10,000 is answered whole, and the event loop is not held meanwhile", async () => {
  const tasks = Array.from({ length: 10_000 }, (_, index) => task(index));
  await using api = await nodeApi(undefined, { tasks: arrayOf(tasks), noAuth: true });
  await ask(api.port, "/api/tasks/warm");
  assert.ok(await heldBy(api.port, "/api/tasks?array=t") > 10_000_000);
  const again = JSON.parse((await ask(api.port, "/api/tasks/t")).text);
  assert.equal(again.tasks.length, 10_000);
  assert.equal(again.tasks[9_999].id, "t.9999");
});

Deno.test("bodies that anybody may send are small, and a strange one is refused in time", async () => {
  await using api = await nodeApi();
  const post = (path: string, body: string, headers = {}) =>
    ask(api.port, path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body,
    });
  assert.equal((await post("/api/session", `{"token":"${"x".repeat(2_000)}"}`)).status, 413);
  const authorization = `Bearer ${api.token}`;
  const fields = Array.from({ length: 150_000 }, (_, i) => `"k${i}":1`).join();
  const answer = await post("/api/tasks", `{${fields}}`, { authorization });
  assert.equal(answer.status, 400);
  assert.match(answer.text, /more than 20000 values/);
});

Deno.test("an answer to another node ends the connection when it says so", async () => {
  await using api = await nodeApi(undefined, { noAuth: true });
  using connection = await Deno.connect({ hostname: "127.0.0.1", port: api.port });
  const lines = ["GET /api/cluster/node_local HTTP/1.1", "host: 127.0.0.1", "connection: close"];
  await connection.write(new TextEncoder().encode(lines.join("\r\n") + "\r\n\r\n"));
  const text = await new Response(connection.readable).text();
  assert.match(text, /^HTTP\/1.1 200/);
  assert.match(text, /connection: close/i);
});
