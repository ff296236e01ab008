import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { anAttempt, aTask } from "../support/fake_tasks.ts";
import { TaskError, type TaskService } from "../../src/tasks/service.ts";
import type { Task } from "../../src/tasks/task.ts";
import { eventually } from "../support/eventually.ts";
import { startCommand } from "./start_command.ts";
import { asking } from "./fake_coordinator.ts";

const id = "01jd3p9xabcdef";
const task = aTask({
  id,
  state: "failed",
  submittedAt: Date.parse("2026-01-02T03:04:05Z"),
  reason: "exit code 3",
  attempts: [
    anAttempt(1, { state: "lost", exitCode: undefined, superseded: true }),
    anAttempt(2, { state: "failed", exitCode: 3, stdoutBytes: 2048, reason: "exit code 3" }),
  ],
  spec: { ...aTask().spec, argv: ["sh", "-c", "exit 3"], artifacts: ["out/*"] },
});

const knows: Partial<TaskService> = {
  getTask: (asked) =>
    asked === id
      ? Promise.resolve([task])
      : Promise.reject(new TaskError("not_found", `There is no task "${asked}"`)),
  listTasks: () => Promise.resolve({ tasks: [task], more: false }),
};

Deno.test("tasks are listed as a table, and as JSON", async () => {
  const asked: unknown[] = [];
  await using coordinator = await asking({
    listTasks(query) {
      asked.push(query);
      return Promise.resolve({ tasks: [task], more: false });
    },
  });
  const table = await coordinator.run("task list --state failed --state lost");
  assert.match(table.stdout, /^ID +STATE +AGE +TOOK +EXIT +WORKER +COMMAND\n/);
  assert.match(table.stdout, new RegExp(`\n${id} +failed +\\S+ +0ms +3 +w1 +sh -c 'exit 3'\n$`));
  assert.deepEqual(asked, [{ states: ["failed", "lost"], limit: 50 }]);
  const json = JSON.parse((await coordinator.run("task list --json")).stdout);
  assert.equal(json.tasks[0].submitted_at, "2026-01-02T03:04:05.000Z");
  assert.equal(json.tasks[0].attempts[1].exit_code, 3);
});

Deno.test("without a terminal, --watch prints each change as a line until Ctrl-C", async () => {
  const never = Promise.withResolvers<void>();
  await using coordinator = await asking({
    async *watchChanges() {
      yield { task: { ...task, state: "running" } };
      yield { task };
      yield { task: { ...task, id: "01jd3p9xother", state: "running" } };
      await never.promise;
    },
  });
  const words = ["task", "list", "--watch", "--state", "failed", "--state", "running"];
  await using text = startCommand(coordinator.home, ...words);
  await using json = startCommand(coordinator.home, ...words, "--json");
  const lines = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim().split("\n");
  await eventually(20_000, () => lines(text.stdout()).length === 3);
  await eventually(20_000, () => lines(json.stdout()).length === 3);
  assert.equal(lines(text.stdout())[1], `${id} failed w1 sh -c 'exit 3'`);
  const states = lines(json.stdout()).map((line) => JSON.parse(line).state);
  assert.deepEqual(states, ["running", "failed", "running"]);
  for (const each of [text, json]) each.kill("SIGINT");
  assert.deepEqual([await text.code, await json.code], [130, 130]);
  never.resolve();
});

Deno.test("--watch ends when its reader is gone, also while nothing changes", async () => {
  const never = Promise.withResolvers<void>();
  await using coordinator = await asking({
    async *watchChanges() {
      yield { task };
      await never.promise;
    },
  });
  const ran = await coordinator.run("task list --watch --json", {
    through: ["sh", "-c", '{ "$@"; echo $? >exit-code; } | head -n 1', "sh"],
  });
  never.resolve();
  assert.equal(JSON.parse(ran.stdout).id, id);
  assert.equal(await Deno.readTextFile(join(coordinator.home.path, "exit-code")), "0\n");
});

Deno.test("a long command does not fill a list, and an array's command stands there once", async () => {
  const long = { ...task.spec, argv: ["echo", "x".repeat(200_000)] };
  const element = (index: number) => aTask({ id: `a.${index}`, arrayId: "a", arrayIndex: index });
  await using coordinator = await asking({
    listTasks: () =>
      Promise.resolve({ tasks: [element(1), element(0), { ...task, spec: long }], more: false }),
  });
  const { stdout } = await coordinator.run("task list");
  const [, first = "", second = "", third = ""] = stdout.split("\n");
  assert.match(first, /true$/);
  assert.match(second, /\(same array\)$/);
  assert.match(third, /echo x{190,195}…$/);
});

Deno.test("a task is shown by the beginning of its id, with what to do next", async () => {
  await using coordinator = await asking(knows);
  const shown = await coordinator.run("task show 01jd3p");
  for (const text of ["exit code 3", "sh -c 'exit 3'", "superseded", `agent task retry ${id}`]) {
    assert.ok(shown.stdout.includes(text), `${text} in\n${shown.stdout}`);
  }
  const unknown = await coordinator.run("task show zzzzzz");
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /There is no task "zzzzzz"/);
});

Deno.test("logs are separate streams, of the requested attempt", async () => {
  const asked: (number | undefined)[] = [];
  await using coordinator = await asking({
    ...knows,
    async *readLog({ attempt }) {
      asked.push(attempt);
      yield { attempt: 2, stream: "stdout", offset: 0, data: new Uint8Array([0, 255, 10]) };
      yield await Promise.resolve({
        attempt: 2,
        stream: "stderr" as const,
        offset: 0,
        data: new TextEncoder().encode("no luck\n"),
      });
    },
    async *watchTasks() {
      yield await Promise.resolve(task);
    },
  });
  const ran = await coordinator.run(`task logs ${id}`);
  assert.deepEqual([ran.code, [...ran.bytes], ran.stderr], [0, [0, 255, 10], "no luck\n"]);
  await coordinator.run(`task logs ${id} --attempt 1`);
  const followed = await coordinator.run(`task logs ${id} --follow`);
  assert.equal(followed.code, 3, "the task's own exit code");
  assert.deepEqual(asked, [undefined, 1, 2]);
  const lines = (await coordinator.run(`task logs ${id} --json`)).stdout.trim().split("\n");
  assert.deepEqual(lines.map((line) => JSON.parse(line)), [
    { task_id: id, attempt: 2, stream: "stdout", offset: 0, data_base64: "AP8K" },
    { task_id: id, attempt: 2, stream: "stderr", offset: 0, data: "no luck\n" },
  ]);
});

Deno.test("cancel and retry print the new state of the task", async () => {
  const changed: string[] = [];
  await using coordinator = await asking({
    ...knows,
    cancelTask(asked) {
      changed.push(`cancel ${asked}`);
      return Promise.resolve([{ ...task, state: "running", cancelRequested: true }]);
    },
    retryTask: () => Promise.reject(new TaskError("wrong_state", "it is running")),
  });
  assert.equal((await coordinator.run(`task cancel ${id}`)).stdout, `${id} is being cancelled\n`);
  const refused = await coordinator.run(`task retry ${id} --json`);
  assert.equal(refused.code, 1);
  assert.deepEqual(JSON.parse(refused.stderr).error, {
    code: "wrong_state",
    message: "It is running",
  });
  assert.deepEqual(changed, [`cancel ${id}`]);
  const several = await coordinator.run(`task cancel zzzzzz @last ${id} --json`);
  assert.equal(several.code, 1);
  assert.deepEqual(changed.slice(1), [`cancel ${id}`, `cancel ${id}`]);
  const { tasks, failed } = JSON.parse(several.stdout);
  assert.equal(tasks.length, 2);
  assert.deepEqual(failed, [
    { id: "zzzzzz", code: "not_found", message: 'There is no task "zzzzzz"' },
  ]);
  const told = await coordinator.run(`task cancel zzzzzz ${id}`);
  assert.equal(told.stdout, `${id} is being cancelled\n`);
  assert.equal(told.stderr, 'agent: zzzzzz: There is no task "zzzzzz"\n');
});

Deno.test("@last is the newest task, or its whole array", async () => {
  const elements = [0, 1].map((i) => aTask({ id: `a.${i}`, arrayId: "a", arrayIndex: i }));
  const asked: string[] = [];
  await using coordinator = await asking({
    listTasks: ({ limit }) => Promise.resolve({ tasks: elements.slice(0, limit), more: true }),
    getTask: (id) => {
      asked.push(id);
      return Promise.resolve(elements);
    },
    cancelTask: (id) => {
      asked.push(`cancel ${id}`);
      return Promise.resolve(elements);
    },
  });
  assert.equal((await coordinator.run("task cancel @last")).code, 0);
  assert.deepEqual(asked, ["a", "cancel a"]);
  await coordinator.stop();
  await coordinator.restart({ listTasks: () => Promise.resolve({ tasks: [], more: false }) });
  const none = await coordinator.run("task show @last");
  assert.deepEqual([none.code, none.stderr], [1, "agent: There are no tasks\n"]);
});

Deno.test("artifacts are listed, and saved only inside the given folder", async () => {
  const files: Record<string, string> = { "out/a.txt": "text", "../evil": "evil" };
  const listed = (...paths: string[]) => () =>
    Promise.resolve(paths.map((path) => ({
      path,
      size: files[path]!.length,
      sha256: createHash("sha256").update(files[path]!).digest("hex"),
      mode: 0o4755,
      attempt: 2,
    })));
  const readArtifact: TaskService["readArtifact"] = async function* ({ path }) {
    yield await Promise.resolve({ offset: 0, data: new TextEncoder().encode(files[path]!) });
  };
  await using coordinator = await asking({
    ...knows,
    readArtifact,
    listArtifacts: listed("out/a.txt"),
  });
  const { home } = coordinator;
  const list = await coordinator.run(`task artifacts ${id}`);
  assert.match(list.stdout, /4 B +[0-9a-f]{64} +out\/a\.txt\n$/);
  // A new folder, relative to the working folder of the command.
  const saved = await coordinator.run(`task artifacts ${id} -o some/results`);
  assert.equal(saved.code, 0, saved.stderr);
  const target = join(home.path, "some/results/out/a.txt");
  assert.equal(await Deno.readTextFile(target), "text");
  assert.equal((await Deno.stat(target)).mode! & 0o7777, 0o755);
  const again = await coordinator.run(`task artifacts ${id} -o some/results`);
  assert.equal(again.code, 3);
  assert.match(again.stderr, /--force/);
  assert.equal((await coordinator.run(`task artifacts ${id} -o some/results --force`)).code, 0);

  await coordinator.stop();
  await coordinator.restart({ ...knows, readArtifact, listArtifacts: listed("../evil") });
  const evil = await coordinator.run(`task artifacts ${id} -o evil/results`);
  assert.equal(evil.code, 1);
  await assert.rejects(Deno.stat(join(home.path, "evil/evil")), Deno.errors.NotFound);
});

Deno.test("logs and artifacts of a whole array are told apart by index", async () => {
  const elements = [0, 1].map((i) =>
    aTask({ id: `a.${i}`, arrayId: "a", arrayIndex: i, attempts: [anAttempt(1)] })
  );
  const data = new TextEncoder().encode("text");
  const sha256 = createHash("sha256").update(data).digest("hex");
  await using coordinator = await asking({
    getTask: () => Promise.resolve(elements),
    async *readLog({ taskId }) {
      const line = new TextEncoder().encode(`from ${taskId}\n`);
      yield await Promise.resolve({ attempt: 1, stream: "stdout" as const, offset: 0, data: line });
    },
    listArtifacts: () =>
      Promise.resolve([{ path: "out/x", size: 4, sha256, mode: 0o644, attempt: 1 }]),
    async *readArtifact() {
      yield await Promise.resolve({ offset: 0, data });
    },
  });
  const logs = await coordinator.run("task logs aaaa --prefix");
  assert.equal(logs.stdout, "[0] from a.0\n[1] from a.1\n");
  assert.equal((await coordinator.run("task logs aaaa")).stdout, "from a.0\nfrom a.1\n");
  assert.match(
    (await coordinator.run("task artifacts aaaa")).stdout,
    /^TASK +SIZE.*\na\.0 .*\na\.1 /,
  );
  const saved = await coordinator.run("task artifacts aaaa -o results");
  assert.equal(saved.stdout, "results/0/out/x\nresults/1/out/x\n");
  const { path } = coordinator.home;
  assert.equal(await Deno.readTextFile(join(path, "results/1/out/x")), "text");
  const json = JSON.parse((await coordinator.run("task artifacts aaaa --json")).stdout);
  assert.deepEqual(
    json.tasks.map(({ task_id }: { task_id: string }) => task_id),
    ["a.0", "a.1"],
  );
});

Deno.test("tasks are deleted by id, and old ones are pruned or only counted", async () => {
  const asked: unknown[] = [];
  await using coordinator = await asking({
    ...knows,
    deleteTask: () => Promise.resolve([task]),
    pruneTasks(query) {
      asked.push(query);
      return Promise.resolve({ tasks: 12, bytes: 3_000_000 });
    },
  });
  assert.equal((await coordinator.run(`task delete ${id}`)).stdout, `${id} deleted\n`);
  const words = "task prune --older-than 7d --state failed --state lost";
  const dry = await coordinator.run(`${words} --dry-run`);
  assert.match(dry.stdout, /^Would remove 12 tasks with 2\.9 MiB of logs and artifacts\n$/);
  const json = JSON.parse((await coordinator.run(`${words} --json`)).stdout);
  assert.deepEqual(json, { tasks: 12, bytes: 3_000_000, dry_run: false });
  const query = { olderThanMs: 7 * 86_400_000, states: ["failed", "lost"] };
  assert.deepEqual(asked, [{ ...query, dryRun: true }, { ...query, dryRun: false }]);
  assert.equal((await coordinator.run("task prune")).code, 2);
});

Deno.test("tasks are listed by who submitted them, and a task shows that", async () => {
  const asked: unknown[] = [];
  const submitter = { name: "alice", fingerprint: "ab".repeat(32) };
  await using coordinator = await asking({
    ...knows,
    getTask: () => Promise.resolve([{ ...task, submitter }]),
    listTasks(query) {
      asked.push(query);
      return Promise.resolve({ tasks: [{ ...task, submitter }], more: false });
    },
  });
  const listed = await coordinator.run("task list --submitter alice --json");
  assert.deepEqual(JSON.parse(listed.stdout).tasks[0].submitter, submitter);
  assert.deepEqual(asked, [{ states: [], limit: 50, submitter: "alice" }]);
  assert.match(
    (await coordinator.run(`task show ${id}`)).stdout,
    /^Submitter +alice \(SHA-256 abab/m,
  );
});

Deno.test("with --failed, only what failed is queued again", async () => {
  const element = (at: number, state: Task["state"]) =>
    aTask({ id: `${id}.${at}`, arrayId: id, arrayIndex: at, state });
  const elements = [element(0, "succeeded"), element(1, "failed"), element(2, "running")];
  const asked: string[] = [];
  await using coordinator = await asking({
    getTask: (name) => Promise.resolve(name === id ? elements : [element(0, "succeeded")]),
    retryTask(name) {
      asked.push(name);
      return Promise.resolve(elements.with(1, element(1, "queued")));
    },
  });
  const retried = await coordinator.run(`task retry ${id} --failed`);
  assert.equal(retried.stdout, `${id}.1 queued\n`);
  assert.equal((await coordinator.run(`task retry ${id}.0 --failed`)).code, 0);
  assert.deepEqual(asked, [id]);
});
