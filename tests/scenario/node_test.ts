/** A node on its own: its flags, its tasks through a coordinator, its certificates. */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { agent, type Running } from "../support/agent.ts";
import { eventually, freePort, slowness } from "../support/eventually.ts";
import { type Home, tempHome } from "../support/home.ts";
import { ask } from "../support/node_api.ts";
import { makeAuthority } from "../support/openssl.ts";

const anywhere = ["--port=0", "--node.health-port=0"];

const token = (home: Home) => Deno.readTextFileSync(join(dirname(home.tls), "token")).trim();

/** The login URL of the banner. */
function loginUrl(node: Running): string {
  const line = node.stderr().split("\n").find((each) => each.includes('"msg":"open"'));
  return JSON.parse(line!).url;
}

Deno.test("what cannot be meant is refused, and each refusal says what to do", async () => {
  await using home = await tempHome();
  const cases: [args: string[], code: number, says: RegExp][] = [
    [["-H", "0.0.0.0"], 3, /without TLS/],
    [["-H", "::"], 3, /without TLS/],
    [["--tls"], 2, /no certificate/],
    [["--tls", "--no-tls"], 2, /twice/],
    [["--tls-cert", "a.crt"], 2, /--tls-key is not/],
    [["--tls-key", "a.key"], 2, /--tls-cert is not/],
    [["--no-tls", "--tls-cert", "a.crt", "--tls-key", "a.key"], 2, /contradict/],
    [["--tls-cert", "a.crt", "--tls-key", "a.key"], 2, /does not exist/],
  ];
  for (const [args, code, says] of cases) {
    const ran = await agent.run(["node", ...anywhere, ...args], { home });
    assert.equal(ran.code, code, `${args}: ${ran.stderr}`);
    assert.match(ran.stderr, says);
    assert.match(ran.stderr, /next: /);
  }
});

Deno.test("a node on loopback serves its UI, its login, and its token", async () => {
  await using home = await tempHome();
  await using node = await agent.start("node", anywhere, { home });
  const url = `http://${node.address}`;
  assert.equal(node.ready.role, "node");
  const health = await (await fetch(`${url}/api/health`)).json();
  assert.equal(health.status, "ok");
  const page = await fetch(url);
  assert.match(await page.text(), /<!doctype html>/i);
  assert.match(page.headers.get("content-security-policy")!, /default-src 'none'/);
  assert.equal((await Deno.stat(join(dirname(home.tls), "token"))).mode! & 0o777, 0o600);

  const first = await fetch(loginUrl(node));
  await first.body?.cancel();
  assert.equal(first.status, 200);
  const cookie = first.headers.get("set-cookie")!.split(";")[0]!;
  const session = () => fetch(`${url}/api/session`, { headers: { cookie } });
  assert.equal((await (await session()).json()).node_id, health.node_id);
  const second = await fetch(loginUrl(node));
  await second.body?.cancel();
  assert.equal(second.status, 401);

  // A new token ends all sessions.
  const before = token(home);
  assert.equal((await agent.run(["token", "rotate"], { home })).code, 0);
  assert.notEqual(token(home), before);
  await eventually(10_000, async () => {
    const again = await session();
    await again.body?.cancel();
    return again.status === 401;
  });
  const made = await agent.run(["token", "url"], { home });
  assert.equal((await fetch(made.stdout.trim())).status, 200, made.stderr);
  assert.equal((await node.stop()).code, 0);
  // Nothing secret was written down, but the login URLs that are meant to be read.
  for (const secret of [before, token(home), cookie.split("=")[1]!]) {
    assert.ok(!node.stderr().includes(secret));
  }
  const gone = await agent.run(["cluster", "status"], { home });
  assert.equal(gone.code, 1);
  assert.match(gone.stderr, /does not answer/);
});

Deno.test("tasks, logs, artifacts, workers, state and events through a coordinator", async () => {
  await using home = await tempHome();
  await using coordinator = await agent.start("coordinator", [
    "--coordinator.port=0",
    "--coordinator.health-port=0",
  ], { home });
  await using _worker = await agent.start("worker", [
    `--worker.coordinators=${coordinator.address}`,
    "--worker.health-port=0",
    "--worker.slots=2",
  ], { home });
  await using node = await agent.start("node", [
    ...anywhere,
    `--node.coordinators=${coordinator.address}`,
  ], { home });
  const url = `http://${node.address}`;
  const headers = { authorization: `Bearer ${token(home)}` };
  const get = async (path: string) => (await fetch(url + path, { headers })).json();
  const post = (path: string, body?: unknown) =>
    fetch(url + path, {
      method: "POST",
      headers: { ...headers, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });

  const events = new Events(`${url}/api/events`, headers);
  await events.next((event) => event.name === "cluster");

  const line =
    "echo one; while [ ! -e go ]; do sleep 0.05; done; echo two >&2; printf 0123456789 > out";
  const made = await post("/api/tasks", {
    argv: [line.replace("go", join(home.path, "go"))],
    shell: true,
    artifacts: ["out"],
  });
  assert.equal(made.status, 201);
  const { id } = await made.json();
  await events.next(({ name, data }) => name === "task" && data.id === id);

  // The log comes while the task runs.
  const log = await fetch(`${url}/api/tasks/${id}/logs?follow=true`, { headers });
  assert.equal(log.headers.get("content-type"), "application/x-ndjson");
  const reader = log.body!.pipeThrough(new TextDecoderStream()).getReader();
  const piece = JSON.parse((await reader.read()).value!);
  assert.deepEqual([piece.stream, piece.data], ["stdout", "one\n"]);
  await Deno.writeTextFile(join(home.path, "go"), "");
  let rest = "";
  for (let each = await reader.read(); !each.done; each = await reader.read()) rest += each.value;
  assert.equal(JSON.parse(rest).data, "two\n");
  await events.next(({ name, data }) => name === "task" && data.state === "succeeded");

  const { tasks } = await get(`/api/tasks/${id}`);
  assert.equal(tasks[0].state, "succeeded");
  assert.equal((await get("/api/tasks?state=succeeded")).tasks.length, 1);
  assert.equal((await get("/api/tasks?state=failed")).tasks.length, 0);
  assert.equal((await get("/api/tasks?state=odd")).status, 400);
  const tail = await fetch(`${url}/api/tasks/${id}/logs?tail_bytes=2`, { headers });
  const tails = (await tail.text()).trim().split("\n").map((each) => JSON.parse(each).data);
  assert.deepEqual(tails.sort(), ["e\n", "o\n"]);

  assert.equal((await get(`/api/tasks/${id}/artifacts`)).artifacts[0].path, "out");
  const artifact = `${url}/api/tasks/${id}/artifacts/out`;
  assert.equal(await (await fetch(artifact, { headers })).text(), "0123456789");
  const ranges: [range: string, status: number, text: string][] = [
    ["bytes=2-4", 206, "234"],
    ["bytes=7-", 206, "789"],
    ["bytes=-3", 206, "789"],
    ["bytes=0-99", 206, "0123456789"],
    ["bytes=1-2,4-5", 200, "0123456789"],
    ["lines=1-2", 200, "0123456789"],
  ];
  for (const [range, status, text] of ranges) {
    const part = await fetch(artifact, { headers: { ...headers, range } });
    assert.deepEqual([part.status, await part.text()], [status, text], range);
  }
  const beyond = await fetch(artifact, { headers: { ...headers, range: "bytes=10-" } });
  assert.equal(beyond.status, 416);
  await beyond.body?.cancel();
  const none = await fetch(`${url}/api/tasks/${id}/artifacts/none`, { headers });
  assert.equal(none.status, 404);
  await none.body?.cancel();

  const again = await (await post(`/api/tasks/${id}/retry`)).json();
  assert.equal(again.tasks[0].id, id);
  const { workers } = await get("/api/workers");
  const worker = workers[0].id;
  assert.equal((await (await post(`/api/workers/${worker}/drain`)).json()).draining, true);
  await events.next(({ name, data }) => name === "workers" && data.workers[0]?.draining);
  assert.equal((await (await post(`/api/workers/${worker}/resume`)).json()).draining, false);

  const key = `${url}/api/state/build/last`;
  const put = await fetch(`${key}?if_revision=0`, { method: "PUT", headers, body: "abc" });
  assert.equal((await put.json()).value, "abc");
  const conflict = await fetch(`${key}?if_revision=0`, { method: "PUT", headers, body: "x" });
  assert.equal((await conflict.json()).status, 409);
  assert.equal((await get("/api/state/build")).entries.length, 1);
  assert.equal((await fetch(key, { method: "DELETE", headers })).status, 200);
  assert.equal((await get("/api/state/build/last")).status, 404);

  // A reader that comes back gets what it has missed.
  const last = events.lastId;
  await events.close();
  const quick = await (await post("/api/tasks", { command: "exit 0", shell: true })).json();
  const resumed = new Events(`${url}/api/events`, { ...headers, "last-event-id": last });
  await resumed.next(({ name, data }) => name === "task" && data.id === quick.id);
  await resumed.close();
  const foreign = new Events(`${url}/api/events`, { ...headers, "last-event-id": "other-5" });
  await foreign.next(({ name }) => name === "reset");
  await foreign.close();
});

Deno.test("a renewed certificate is served without a restart, and plain HTTP gets a hint", async () => {
  await using home = await tempHome();
  await agent.run(["tls", "init"], { home });
  await using node = await agent.start("node", anywhere, { home });
  const port = Number(node.address.split(":")[1]);
  const ca = Deno.readTextFileSync(join(home.tls, "ca-bundle.crt"));
  const headers = { authorization: `Bearer ${token(home)}` };
  const shown = async () => {
    const { text } = await ask(port, "/api/cluster", { ca, headers });
    return JSON.parse(text).nodes[0].certificate_fingerprint as string;
  };
  const before = await shown();
  assert.equal((await agent.run(["tls", "renew"], { home })).code, 0);
  await eventually(10_000, async () => await shown() !== before);
  const plain = await fetch(`http://${node.address}/`);
  assert.equal(plain.status, 400);
  assert.match(await plain.text(), /https:\/\//);
});

Deno.test("2,000 idle connections do not keep others from being served", async () => {
  await using home = await tempHome();
  await agent.run(["tls", "init"], { home });
  await using node = await agent.start("node", anywhere, { home });
  const port = Number(node.address.split(":")[1]);
  const ca = Deno.readTextFileSync(join(home.tls, "ca-bundle.crt"));
  const idle: Deno.TcpConn[] = [];
  try {
    while (idle.length < 2_000) {
      const more = Array.from({ length: 100 }, () => Deno.connect({ hostname: "127.0.0.1", port }));
      idle.push(...await Promise.all(more));
    }
    // Every third begins a handshake and leaves it at that.
    const begun = idle.filter((_, n) => n % 3 === 0);
    const hello = new Uint8Array([22, 3, 1, 2, 0]);
    // The node may have ended the first ones already.
    await Promise.allSettled(begun.map((connection) => connection.write(hello)));
    const start = performance.now();
    assert.equal((await ask(port, "/api/health", { ca })).status, 200);
    assert.ok(performance.now() - start < 5_000 * slowness());
  } finally {
    for (const connection of idle) connection.close();
  }
});

Deno.test("an expired certificate is served, and readiness fails", async () => {
  await using home = await tempHome();
  const authority = await makeAuthority(home.path, "authority");
  const { certFile, keyFile } = await authority.issue("expired", { days: -1 });
  await using node = await agent.start("node", [
    "--port=0",
    `--node.health-port=${freePort()}`,
    "--tls-cert",
    certFile,
    "--tls-key",
    keyFile,
  ], { home });
  await node.said("expired");
  const health = /"health":"([^"]+)"/.exec(node.stderr())![1]!;
  const answered = await fetch(`http://${health}/readyz`);
  assert.equal(answered.status, 503);
  assert.match(await answered.text(), /expired/);
});

Deno.test("task commands go through a node where server.url is set", async () => {
  await using home = await tempHome();
  await agent.run(["tls", "init"], { home });
  const secure = ["--peer.insecure=false"];
  await using coordinator = await agent.start("coordinator", [
    "--coordinator.port=0",
    "--coordinator.health-port=0",
    ...secure,
  ], { home });
  await using _worker = await agent.start("worker", [
    `--worker.coordinators=${coordinator.address}`,
    "--worker.health-port=0",
    "--worker.slots=4",
    ...secure,
  ], { home });
  await using node = await agent.start("node", [
    ...anywhere,
    `--node.coordinators=${coordinator.address}`,
    ...secure,
  ], { home });
  const env = { AGENT_SERVER_URL: `https://${node.address}` };
  const run = async (args: string[], code = 0) => {
    const ran = await agent.run(args, { home, env, stdin: "value" });
    assert.equal(ran.code, code, `${args.join(" ")}: ${ran.stderr}`);
    return ran;
  };
  const submitted = await run(
    [
      "submit",
      "--follow",
      "--artifact",
      "out",
      "--shell",
      "--",
      "echo hi; echo no >&2; echo x > out; exit 7",
    ],
    7,
  );
  assert.equal(submitted.stdout, "hi\n");
  assert.match(submitted.stderr, /no\n/);
  const array = await run([
    "submit",
    "--follow",
    "--array",
    "0-9",
    "--shell",
    "--",
    "echo $AGENT_ARRAY_INDEX",
  ]);
  assert.equal(array.stdout.trim().split("\n").length, 10);
  const { tasks } = JSON.parse((await run(["task", "list", "--json"])).stdout);
  assert.equal(tasks.length, 11);
  const { id } = tasks.at(-1);
  assert.equal((await run(["task", "logs", id])).stdout, "hi\n");
  await run(["task", "artifacts", id, "-o", "saved"]);
  assert.equal(await Deno.readTextFile(join(home.path, "saved", "out")), "x\n");
  assert.match((await run(["workers", "list"])).stdout, /healthy/);
  await run(["state", "put", "a", "b", "-"]);
  assert.equal((await run(["state", "get", "a", "b"])).stdout, "value");
  const conflict = await run(["state", "put", "a", "b", "x", "--if-revision", "0"], 1);
  assert.match(conflict.stderr, /revision/);
  assert.match((await run(["task", "show", "nothing-like-it"], 1)).stderr, /nothing-like-it/);
  const both = ["--server.url", env.AGENT_SERVER_URL, "--coordinators", coordinator.address];
  assert.match((await run(["task", "list", ...both], 2)).stderr, /contradict/);
  // Neither a wrong token nor a foreign server gets anything.
  await Deno.writeTextFile(join(home.path, "wrong"), "x".repeat(43) + "\n");
  const wrong = await run(["task", "list", "--server.token-file", join(home.path, "wrong")], 1);
  assert.match(wrong.stderr, /does not accept the token/);
  const plain = ["--server.url", "http://192.0.2.1:8765"];
  assert.match((await run(["task", "list", ...plain], 3)).stderr, /without TLS/);
});

interface Event {
  name: string;
  id: string;
  // deno-lint-ignore no-explicit-any -- documents of the API, which assertions look into.
  data: any;
}

/** Server-sent events as they come. */
class Events {
  readonly #stop = new AbortController();
  readonly #seen: Event[] = [];
  readonly #read: Promise<void>;
  lastId = "";

  constructor(url: string, headers: Record<string, string>) {
    this.#read = this.#follow(url, headers);
  }

  async #follow(url: string, headers: Record<string, string>): Promise<void> {
    try {
      const response = await fetch(url, { headers, signal: this.#stop.signal });
      let text = "";
      for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
        text += chunk;
        const blocks = text.split("\n\n");
        text = blocks.pop()!;
        for (const block of blocks) {
          const [, id, name, data] = /^id: (.*)\nevent: (.*)\ndata: (.*)$/.exec(block) ?? [];
          if (data === undefined) continue;
          this.lastId = id!;
          this.#seen.push({ id: id!, name: name!, data: JSON.parse(data) });
        }
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) throw error;
    }
  }

  async next(wanted: (event: Event) => boolean): Promise<Event> {
    return await eventually(20_000, () => {
      const found = this.#seen.find(wanted);
      if (found !== undefined) return found;
      throw new Error(`Only these came: ${this.#seen.map(({ name }) => name)}`);
    });
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#read;
  }
}
