/** Client commands on a real coordinator and worker: what users and scripts see of a task. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { startCommand } from "../cli/start_command.ts";
import { agent, type RunOptions } from "../support/agent.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { tempHome } from "../support/home.ts";

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** A home whose commands connect to these clusters. */
async function clientOf(...clusters: Cluster[]) {
  const home = await tempHome();
  const addresses = clusters.map(({ coordinator }) => coordinator.address);
  await Deno.writeTextFile(home.configFile, `client: { coordinators: [${addresses}] }\n`);
  return {
    home,
    run: (args: string[], options: RunOptions = {}) => agent.run(args, { home, ...options }),
    submit: (flags: string[], script: string) =>
      agent.run(["submit", "--follow", ...flags, "--shell", "--", script], { home }),
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  };
}

Deno.test("submit --follow exits with the exit code of the task", async () => {
  await using cluster = await startCluster();
  await cluster.startWorker();
  await using client = await clientOf(cluster);
  const cases: [string[], string, number][] = [
    [[], "exit 0", 0],
    [[], "exit 7", 7],
    [[], "kill -9 $$", 137],
    [[], "kill -15 $$", 143],
    [["--timeout", "200ms"], "exec sleep 60", 124],
    [["--array", "0-3"], "exit $AGENT_ARRAY_INDEX", 1],
    [["--array", "5-5"], "exit $AGENT_ARRAY_INDEX", 5],
  ];
  await Promise.all(cases.map(async ([flags, script, code]) => {
    const ran = await client.submit(flags, script);
    assert.equal(ran.code, code, `${flags} ${script}: ${ran.stderr}`);
  }));
  const lines = join(client.home.path, "lines");
  await Deno.writeTextFile(lines, "a b\r\n$HOME\n\nü");
  const flags = ["--follow", "--each-line", lines];
  const each = await client.run(["submit", ...flags, "--shell", "--", 'echo "<$AGENT_LINE>"']);
  assert.deepEqual(each.stdout.split("\n").toSorted(), ["", "<$HOME>", "<>", "<a b>", "<ü>"]);
  // As `<(…)` of a shell names a pipe; only the main thread can open it.
  const ofPipe = [
    "submit",
    "--follow",
    "--each-line",
    "/dev/fd/9",
    "--shell",
    "--",
    "echo $AGENT_LINE",
  ];
  const through = ["sh", "-c", 'exec 9<"$0"; exec "$@"', lines];
  const piped = await client.run(ofPipe, { through });
  assert.equal(piped.stdout.split("\n").toSorted().join(), ["", "", "$HOME", "a b", "ü"].join());
  const missing = await client.run(["submit", "--follow", "--", "no-such-program"]);
  assert.equal(missing.code, 127);
  assert.match(missing.stderr, /^agent: Program "no-such-program" was not found/m);
  const told = await client.run(["submit", "--follow", "--json", "--", "no-such-program"]);
  assert.equal(told.code, 127);
  assert.equal(JSON.parse(told.stderr.split("\n")[1]!).error.code, "not_started");

  const id = (await client.run(["submit", "--", "sleep", "600"])).stdout.trim();
  const following = client.run(["task", "logs", id, "--follow"]);
  assert.equal((await client.run(["task", "cancel", id])).code, 0);
  assert.equal((await following).code, 130);
  const shown = await client.run(["task", "show", id]);
  assert.match(shown.stdout, /cancelled/);
});

Deno.test("the output of a task arrives byte for byte, stdout and stderr apart, in every way to read it", async () => {
  await using cluster = await startCluster();
  await cluster.startWorker();
  await using client = await clientOf(cluster);
  const { home } = client;
  const both = join(home.path, "both");
  const script = `head -c 5000000 /dev/urandom | tee ${both}.out; ` +
    `head -c 700001 /dev/urandom | tee ${both}.err >&2`;
  await using followed = startCommand(home, "submit", "--follow", "--shell", "--", script);
  assert.equal(await followed.code, 0);
  const out = sha256(await Deno.readFile(`${both}.out`));
  const err = sha256(await Deno.readFile(`${both}.err`));
  const end = followed.stderr().indexOf(10) + 1;
  assert.equal(sha256(followed.stdout()), out);
  assert.equal(sha256(followed.stderr().subarray(end)), err);

  const id = new TextDecoder().decode(followed.stderr().subarray(0, end)).trim();
  await using read = startCommand(home, "task", "logs", id);
  assert.equal(await read.code, 0);
  assert.equal(sha256(read.stdout()), out);
  assert.equal(sha256(read.stderr()), err);
});

Deno.test("following continues at the same byte after the coordinator was killed and restarted", async () => {
  await using cluster = await startCluster();
  await cluster.startWorker();
  await using client = await clientOf(cluster);
  const script = "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo line $i; sleep 0.1; done; exit 9";
  await using followed = startCommand(client.home, "submit", "--follow", "--shell", "--", script);
  const text = () => new TextDecoder().decode(followed.stdout());
  await eventually(30_000, () => text().includes("line 10\n"));
  await cluster.restartCoordinator();
  assert.equal(await followed.code, 9, followed.said());
  assert.equal(text(), Array.from({ length: 60 }, (_, i) => `line ${i + 1}\n`).join(""));
});

Deno.test("after Ctrl-C the printed command resumes following, with everything written meanwhile", async () => {
  await using cluster = await startCluster();
  await cluster.startWorker();
  await using client = await clientOf(cluster);
  const script = "for i in 1 2 3 4 5 6; do echo $i; sleep 0.3; done";
  await using followed = startCommand(client.home, "submit", "--follow", "--shell", "--", script);
  await eventually(30_000, () => followed.stdout().length > 0);
  followed.kill("SIGINT");
  assert.equal(await followed.code, 130);
  const resume = /agent (task logs \S+ --follow)/.exec(followed.said())?.[1];
  assert.ok(resume, followed.said());
  const resumed = await client.run(resume.split(" "));
  assert.deepEqual([resumed.code, resumed.stdout], [0, "1\n2\n3\n4\n5\n6\n"]);
});

Deno.test("all attempts of a retried task are followed", async () => {
  await using cluster = await startCluster();
  await cluster.startWorker();
  await using client = await clientOf(cluster);
  const flag = join(client.home.path, "tried");
  const script =
    `mkdir ${flag}.1 && echo one && exit 1; mkdir ${flag}.2 && echo two && exit 1; echo three`;
  const ran = await client.submit(
    ["--retries", "3", "--retry-delay", "100ms"],
    `${script} 2>/dev/null`,
  );
  assert.deepEqual([ran.code, ran.stdout], [0, "one\ntwo\nthree\n"]);
});

Deno.test("two coordinators are used as one, also while one of them is down", async () => {
  await using first = await startCluster();
  await using second = await startCluster();
  await first.startWorker({ id: "one" });
  await second.startWorker({ id: "two" });
  await using client = await clientOf(first, second);
  const other = await second.submit("echo from the second");
  const own = (await client.run(["submit", "--", "echo", "from the first"])).stdout.trim();
  assert.equal((await first.finished(own)).length, 1, "submit goes to the first");

  const list = JSON.parse((await client.run(["task", "list", "--json"])).stdout);
  assert.deepEqual(list.tasks.map(({ id }: { id: string }) => id), [own, other]);
  const logs = await client.run(["task", "logs", other, "--follow"]);
  assert.deepEqual([logs.code, logs.stdout], [0, "from the second\n"]);

  first.coordinator.kill();
  await first.coordinator.exit;
  const later = await client.run(["submit", "--follow", "--", "echo", "still there"]);
  assert.deepEqual([later.code, later.stdout], [0, "still there\n"]);
  const workers = await client.run(["workers", "list"]);
  assert.equal(workers.code, 0);
  assert.match(workers.stdout, /\ntwo +healthy/);
  assert.match(workers.stderr, /a coordinator did not answer, so its part is missing/);
  const unknown = await client.run(["task", "show", own]);
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /did not answer/);
});

Deno.test("a log longer than the flow-control window arrives complete each time", async () => {
  await using cluster = await startCluster();
  await cluster.startWorker();
  await using client = await clientOf(cluster);
  // Half of the runs failed when the client was still writing after the coordinator had sent everything.
  for (let turn = 0; turn < 6; turn++) {
    const ran = await client.submit([], "head -c 5000000 /dev/zero | tr '\\0' x");
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal(ran.stdout.length, 5_000_000);
  }
});
