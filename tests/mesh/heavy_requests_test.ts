/** Requests that are large within what is allowed: the node does something else in between. */
import { spec } from "../support/spec.ts";
import assert from "node:assert/strict";
import { measureEventLoopLag } from "../../src/base/event_loop_lag.ts";
import { oneOfSeveral } from "../../src/client/one_of_several.ts";
import type { Task } from "../../src/tasks/task.ts";
import type { TaskService } from "../../src/tasks/service.ts";
import { ask, nodeApi } from "../support/node_api.ts";

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

Deno.test("an array of 10,000 is answered whole, and the event loop is not held meanwhile", async () => {
  const tasks = Array.from({ length: 10_000 }, (_, index) => task(index));
  await using api = await nodeApi(undefined, { tasks: arrayOf(tasks), noAuth: true });
  await ask(api.port, "/api/tasks/warm");
  let least = Infinity;
  // The machine may hold the process as well, but hardly each time.
  for (let round = 0; round < 5 && least >= 0.05; round++) {
    using lag = measureEventLoopLag();
    const answer = await fetch(`http://127.0.0.1:${api.port}/api/tasks?array=t`);
    let bytes = 0;
    for await (const part of answer.body!) bytes += part.length;
    assert.ok(bytes > 10_000_000, `${bytes} bytes`);
    least = Math.min(least, lag.longestSeconds());
  }
  assert.ok(least < 0.05, `held for ${least} s`);
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
