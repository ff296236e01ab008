/** The tasks, workers and state of coordinators through a node. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { agent } from "../support/agent.ts";
import { startCommand } from "../cli/start_command.ts";
import { eventually } from "../support/eventually.ts";
import { forward } from "../support/forwarder.ts";
import { tempHome } from "../support/home.ts";
import { anywhere, type Event, Events, startServed, token } from "../support/lone_node.ts";

Deno.test("tasks, logs, artifacts, workers, state and events through a coordinator", async () => {
  await using home = await tempHome();
  await using cluster = await startServed(home, { worker: ["--worker.slots=2"] });
  const { node } = cluster;
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

  const unknown = await fetch(`${url}/api/tasks/00000000000000/logs?follow=true`, { headers });
  assert.deepEqual([unknown.status, (await unknown.json()).code], [404, "not_found"]);
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
  const batch = { attempt: 1, paths: ["out"] };
  const files = await (await post(`/api/tasks/${id}/artifacts`, batch)).json();
  assert.deepEqual(files, { files: [btoa("0123456789")] });
  for (
    const [body, status] of [
      [{ ...batch, paths: ["none"] }, 404],
      [{ ...batch, paths: "out" }, 400],
      [{ ...batch, attempt: "1" }, 400],
      [{ ...batch, paths: Array(251).fill("out") }, 400],
      [null, 400],
    ] as const
  ) {
    const refused = await post(`/api/tasks/${id}/artifacts`, body);
    assert.equal(refused.status, status, await refused.text());
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
  const over = ({ name, data }: Event) =>
    name === "task" && data.id === quick.id && data.state === "succeeded";
  const also = new Events(`${url}/api/events`, { ...headers, "last-event-id": last });
  await also.next(over);
  assert.equal(
    (await fetch(`${url}/api/tasks/${quick.id}`, { method: "DELETE", headers })).status,
    200,
  );
  await also.next(({ name, data }) => name === "task_deleted" && data.id === quick.id);
  await also.close();

  // To each worker that matches.
  const each = await (await post("/api/tasks", { argv: ["true"], each: true })).json();
  assert.equal(each.task_ids.length, 1);
  const { tasks: [there] } = await get(`/api/tasks/${each.id}`);
  assert.equal(there.spec.selector.worker, worker);
  for (const to of [{ each: true }, { require_match: true }]) {
    const nowhere = await post("/api/tasks", { argv: ["true"], selector: { no: "where" }, ...to });
    assert.equal(nowhere.status, 409);
    assert.match((await nowhere.json()).detail, /Nothing was submitted/);
  }
  assert.equal((await post("/api/tasks", { argv: ["true"], each: 1 })).status, 400);
  assert.equal((await post("/api/tasks", { argv: ["x"], each: true, array: "0-1" })).status, 400);
  // A worker that is connected is not forgotten.
  assert.equal((await post(`/api/workers/${worker}/forget`)).status, 409);

  const foreign = new Events(`${url}/api/events`, { ...headers, "last-event-id": "other-5" });
  await foreign.next(({ name }) => name === "reset");
  await foreign.close();
});

Deno.test("task commands go through a node where server.url is set", async () => {
  await using home = await tempHome();
  await agent.run(["tls", "init"], { home });
  const secure = ["--peer.insecure=false"];
  await using cluster = await startServed(home, { worker: ["--worker.slots=4"], flags: secure });
  const { coordinator, node } = cluster;
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
  await Deno.writeTextFile(join(home.path, "lines"), "one\ntwo\n");
  const lines = ["--each-line", join(home.path, "lines"), "--follow"];
  const ran = await run(["submit", ...lines, "--shell", "--", "echo $AGENT_LINE"]);
  assert.deepEqual(ran.stdout.split("\n").toSorted(), ["", "one", "two"]);
  const { id } = tasks.at(-1);
  assert.equal((await run(["task", "logs", id])).stdout, "hi\n");
  await run(["task", "artifacts", id, "-o", "saved"]);
  assert.equal(await Deno.readTextFile(join(home.path, "saved", "out")), "x\n");
  // Small files come many at a time, and a larger one by itself.
  const many =
    "mkdir d; for i in $(seq 300); do echo $i >d/$i; done; head -c 50000 /dev/zero >d/large";
  await run(["submit", "--follow", "--artifact", "d/*", "--shell", "--", many]);
  await run(["task", "artifacts", "@last", "-o", "many"]);
  const saved = (name: string) => Deno.readTextFileSync(join(home.path, "many", "d", name));
  for (let i = 1; i <= 300; i++) assert.equal(saved(`${i}`), `${i}\n`);
  assert.equal(saved("large").length, 50_000);
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

Deno.test("an array says its spec once to those who ask so, and with each element to others", async () => {
  await using home = await tempHome();
  await using cluster = await startServed(home);
  const { coordinator, node } = cluster;
  const scene = "s".repeat(60_000);
  const options = { home, env: { AGENT_CLIENT_COORDINATORS: coordinator.address } };
  // With each element they are 120 MB, more than the command takes in one answer of a node.
  const made = await agent.run(
    ["submit", "--array=0-1999", `--env=SCENE=${scene}`, "--", "true"],
    options,
  );
  assert.equal(made.code, 0, made.stderr);
  const id = made.stdout.trim();
  assert.equal((await agent.run(["submit", "--", "date"], options)).code, 0);

  const headers = { authorization: `Bearer ${token(home)}` };
  const get = async (path: string) =>
    await (await fetch(`http://${node.address}${path}`, { headers })).json();
  const once = await get(`/api/tasks/${id}?specs=once`);
  assert.equal(once.tasks.length, 2_000);
  assert.equal(once.tasks[0].spec.env.SCENE, scene);
  assert.ok(once.tasks.slice(1).every(({ spec }: { spec: unknown }) => spec === null));
  const some = await get(`/api/tasks?limit=3&specs=once`);
  assert.deepEqual(some.tasks.map(({ spec }: { spec: { argv: string[] } | null }) => spec?.argv), [
    ["date"],
    ["true"],
    undefined,
  ]);
  const whole = await get("/api/tasks?limit=3");
  assert.deepEqual(whole.tasks.map(({ spec }: { spec: { argv: string[] } }) => spec.argv), [
    ["date"],
    ["true"],
    ["true"],
  ]);
  assert.equal((await get(`/api/tasks/${id}?specs=twice`)).status, 400);
  // The elements of an array are filtered like all others.
  assert.equal((await get(`/api/tasks?array=${id}&state=queued`)).tasks.length, 2_000);
  assert.equal((await get(`/api/tasks?array=${id}&state=failed`)).tasks.length, 0);
  assert.equal((await get(`/api/tasks?array=${id}&submitter=nobody`)).tasks.length, 0);

  for (const server of [[], ["--server.url", `http://${node.address}`]]) {
    const shown = await agent.run(["task", "show", id, "--json", ...server], options);
    assert.equal(shown.code, 0, shown.stderr.slice(0, 1_000));
    const { tasks } = JSON.parse(shown.stdout);
    assert.equal(tasks.length, 2_000);
    for (const { spec } of tasks) assert.equal(spec.env.SCENE, scene);
  }
});

Deno.test("an array is followed over a node in one answer, which can be taken up again", async () => {
  await using home = await tempHome();
  await using cluster = await startServed(home, { worker: [] });
  const { node } = cluster;
  const post = (path: string, body: unknown) =>
    fetch(`http://${node.address}${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${token(home)}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const follow = async (body: unknown) => {
    const answer = await post("/api/tasks/follow", body);
    assert.equal(answer.headers.get("content-type"), "application/x-ndjson");
    return (await answer.text()).trim().split("\n").map((line) => JSON.parse(line));
  };
  const { id } = await (await post("/api/tasks", {
    argv: ["echo one $AGENT_ARRAY_INDEX; test $AGENT_ARRAY_INDEX != 2"],
    shell: true,
    array: "0-2",
    retries: 1,
    retry_delay_ms: 0,
  })).json();
  const items = await follow({ ids: [id] });
  const written = (index: number) =>
    items.filter(({ task_id, stream }) => task_id === `${id}.${index}` && stream === "stdout")
      .map(({ attempt, offset, data }) => [attempt, offset, data]);
  assert.deepEqual([0, 1, 2].map(written), [
    [[1, 0, "one 0\n"]],
    [[1, 0, "one 1\n"]],
    [[1, 0, "one 2\n"], [2, 0, "one 2\n"]],
  ]);
  const begun = items.filter((item) => "begun" in item);
  assert.deepEqual(begun, [{ task_id: `${id}.2`, begun: 2 }]);
  const finished = items.flatMap((item) => "finished" in item ? [item.finished] : []);
  assert.deepEqual(finished.map((task) => [task.id, task.state]).sort(), [
    [`${id}.0`, "succeeded"],
    [`${id}.1`, "succeeded"],
    [`${id}.2`, "failed"],
  ]);
  assert.deepEqual(finished.map(({ spec }) => spec === null), [false, true, true]);

  const positions = [{ task_id: `${id}.2`, attempt: 2, stdout_offset: 4 }];
  const rest = await follow({ ids: [`${id}.2`], positions });
  assert.deepEqual(rest.slice(0, -1).map(({ offset, data }) => [offset, data]), [[4, "2\n"]]);
  assert.equal(rest.at(-1).finished.id, `${id}.2`);

  const large = await fetch(`http://${node.address}/api/tasks/${id}.0/logs?attempt=${2 ** 32}`, {
    headers: { authorization: `Bearer ${token(home)}` },
  });
  assert.deepEqual([large.status, (await large.json()).title], [400, "Bad Request"]);
  // A request that is understood in part removes nothing.
  const prune = async (query: string) =>
    await post(`/api/tasks/prune?older_than_ms=0&${query}`, {});
  for (const query of ["dry_run=maybe", "dry_run=", "dry-run=true", "dry_run=true&dry_run=false"]) {
    assert.equal((await prune(query)).status, 400, query);
  }
  for (const query of ["dry_run=1", "dry_run=true"]) {
    assert.equal((await (await prune(query)).json()).tasks, 3, query);
  }
  for (
    const [status, body] of [
      [404, { ids: ["00000000000000"] }],
      [400, { ids: id }],
      [400, { ids: [] }],
      [400, { ids: [id], positions: [{ task_id: id, attempt: -1 }] }],
      [400, { ids: [id], positions: [{ task_id: id, attempt: 2 ** 32 }] }],
    ] as const
  ) assert.equal((await post("/api/tasks/follow", body)).status, status);
});

Deno.test("who follows an array is told its spec once", async () => {
  await using home = await tempHome();
  await using cluster = await startServed(home);
  const { coordinator, node } = cluster;
  const run = async (args: string[], to: string[], code = 0) => {
    const ran = await agent.run([...args, ...to], { home });
    assert.equal(ran.code, code, ran.stderr.slice(-1_000));
    return ran.stdout;
  };
  const direct = `--coordinators=${coordinator.address}`;
  const submit = ["submit", "--array=0-999", `--env=SCENE=${"s".repeat(60_000)}`, direct];
  const id = (await run(submit, ["--", "true"])).trim();
  await run(["task", "cancel", id], [direct]);
  for (const kind of ["--coordinators", "--server.url"]) {
    const at = kind === "--coordinators" ? coordinator.address : node.address;
    await using link = await forward(Number(at.split(":").at(-1)));
    const to = `${kind}=${kind === "--coordinators" ? "" : "http://"}${link.address}`;
    // Exit code 130: they were cancelled.
    await run(["task", "logs", id, "--follow"], [to], 130);
    // With each task it would be 60 MB.
    assert.ok(link.answered < 5_000_000, `${kind}: ${link.answered} bytes`);
  }
});

/** The ids in lines of JSON. */
function idsIn(bytes: Uint8Array): string[] {
  return new TextDecoder().decode(bytes).split("\n").filter((line) => line.trim() !== "")
    .map((line) => JSON.parse(line).id);
}

Deno.test("of two coordinators one is away: its part is missing, which is said, and the rest goes on", async () => {
  await using home = await tempHome();
  const started = (port: string, folder: string) =>
    agent.start("coordinator", [
      `--coordinator.port=${port}`,
      "--coordinator.health-port=0",
      `--coordinator.data-dir=${join(home.path, folder)}`,
    ], { home });
  await using near = await started("0", "near");
  const far = await started("0", "far");
  const coordinators = [near.address, far.address].join();
  await using node = await agent.start("node", [
    ...anywhere,
    `--node.coordinators=${coordinators}`,
  ], { home });
  const headers = { authorization: `Bearer ${token(home)}` };
  const get = async (path: string) =>
    await (await fetch(`http://${node.address}${path}`, { headers })).json();
  const submit = async (coordinator: string, word: string) => {
    const args = ["submit", "--coordinators", coordinator, "--", word];
    return (await agent.run(args, { home })).stdout.trim();
  };
  const [here, there] = [await submit(near.address, "here"), await submit(far.address, "there")];
  const whole = await get("/api/tasks");
  const idsOf = ({ tasks }: { tasks: { id: string }[] }) => tasks.map(({ id }) => id).toSorted();
  assert.deepEqual([idsOf(whole), whole.unanswered], [[here, there].toSorted(), []]);
  const events = new Events(`http://${node.address}/api/events`, headers);
  // The first reader makes the node watch, and is to ask for everything; no command says it twice.
  await events.next(({ name }) => name === "reset");
  const over = ["task", "list", "--watch", "--json", "--server.url", `http://${node.address}`];
  await using overNode = startCommand(home, ...over);
  const overIds = () => idsIn(overNode.stdout());
  await eventually(10_000, () => overIds().length === 2);
  const third = await submit(far.address, "third");
  await events.next(({ name, data }) => name === "task" && data.id === third);
  await eventually(10_000, () => overIds().includes(third));
  assert.deepEqual(overIds().toSorted(), [here, there, third].toSorted());

  await far[Symbol.asyncDispose]();
  for (const [path, list] of [["/api/tasks", "tasks"], ["/api/workers", "workers"]] as const) {
    const answer = await get(path);
    assert.ok(Array.isArray(answer[list]));
    assert.deepEqual(
      answer.unanswered.map(({ coordinator }: { coordinator: string }) => coordinator),
      [far.address],
    );
    assert.match(answer.unanswered[0].reason, /nothing listens there/);
  }
  await events.next(({ name, data }) => name === "workers" && data.unanswered.length === 1);
  // What the other one has is still told, over the node and by the command.
  const words = ["task", "list", "--watch", "--json", "--coordinators", coordinators];
  await using watching = startCommand(home, ...words);
  const watched = () => new TextDecoder().decode(watching.stdout());
  const also = await submit(near.address, "also");
  await events.next(({ name, data }) => name === "task" && data.id === also);
  await eventually(10_000, () => watched().includes(also));
  assert.match(watching.said(), /a coordinator did not answer, so its part is missing/);
  const listed = await agent.run(["task", "list", "--server.url", `http://${node.address}`], {
    home,
  });
  assert.ok(listed.stdout.includes(also) && !listed.stdout.includes(there));
  assert.match(listed.stderr, /did not answer, so its part is missing.*nothing listens there/);

  // It is back, and what it has is told again.
  await using _far = await started(far.address.split(":").at(-1)!, "far");
  await eventually(20_000, () => watched().includes(there));
  await events.next(({ name, data }) => name === "workers" && data.unanswered.length === 0);
  assert.deepEqual((await get("/api/tasks")).unanswered, []);
  const later = await submit(far.address, "later");
  await events.next(({ name, data }) => name === "task" && data.id === later);
  await events.close();
});

Deno.test("state is watched over a node and without, whatever goes away meanwhile", async () => {
  await using home = await tempHome();
  const start = (port: string) =>
    agent.start("coordinator", [`--coordinator.port=${port}`, "--coordinator.health-port=0"], {
      home,
    });
  const first = await start("0");
  const { address } = first;
  await using node = await agent.start("node", [...anywhere, `--node.coordinators=${address}`], {
    home,
  });
  const state = async (words: string) => {
    const args = ["state", ...words.split(" "), "--coordinators", address];
    const ran = await agent.run(args, { home });
    assert.equal(ran.code, 0, ran.stderr);
  };
  await state("put build last 1");
  const watch = (...words: string[]) => startCommand(home, "state", "watch", "build", ...words);
  await using direct = watch("--coordinators", address);
  await using over = watch("--json", "--server.url", `http://${node.address}`);
  await using lock = watch("lock", "--coordinators", address);
  const text = () => new TextDecoder().decode(direct.stdout());
  const lines = () =>
    new TextDecoder().decode(over.stdout()).split("\n").filter((line) => line.trim() !== "")
      .map((line) => JSON.parse(line))
      .map(({ key, revision, deleted }) => `${key} ${deleted ? "deleted" : revision}`);
  await eventually(10_000, () => text() === "last 1 1\n" && lines().length === 1);
  await state("put build lock me");
  await eventually(10_000, () => text().endsWith("lock 2 me\n") && lines().at(-1) === "lock 2");

  // What is deleted while nobody can watch is told afterwards, and nothing is told twice.
  first.kill();
  await first.exit;
  await using _second = await start(address.split(":").at(-1)!);
  await state("delete build last");
  const whole = "last 1 1\nlock 2 me\nlast deleted\n";
  await eventually(20_000, () => text() === whole && lines().at(-1) === "last deleted");
  assert.deepEqual(lines(), ["last 1", "lock 2", "last deleted"]);
  await state("put build locked no");
  await state("put build lock again");
  const one = () => new TextDecoder().decode(lock.stdout());
  await eventually(10_000, () => one().includes("again"));
  assert.equal(one(), "lock 2 me\nlock 5 again\n");
});
