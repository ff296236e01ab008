import assert from "node:assert/strict";
import { join } from "node:path";
import { anAttempt, aTask, aWorker } from "../support/fake_tasks.ts";
import {
  type LogPiece,
  type SubmitOptions,
  TaskError,
  type TaskService,
} from "../../src/tasks/service.ts";
import type { Task, TaskSpec } from "../../src/tasks/task.ts";
import { agent } from "../support/agent.ts";
import { eventually } from "../support/eventually.ts";
import { fakeCoordinator } from "./fake_coordinator.ts";
import { startCommand } from "./start_command.ts";

const id = "01jd3p9xabcdef";

function submits(task: Partial<Task> = {}) {
  const sent: { spec: TaskSpec; options: SubmitOptions | undefined }[] = [];
  const answers: Partial<TaskService> = {
    submit(spec, options) {
      sent.push({ spec, options });
      return Promise.resolve({ id, taskIds: [id], existing: false });
    },
    listTasks: () => Promise.resolve({ tasks: [], more: false }),
    getTask: () => Promise.resolve([aTask({ id, ...task })]),
    async *watchTasks() {
      yield await Promise.resolve(aTask({ id, ...task }));
    },
  };
  return { sent, answers };
}

function piece(stream: LogPiece["stream"], offset: number, data: Uint8Array): LogPiece {
  return { attempt: 1, stream, offset, data };
}

Deno.test("submit sends what its flags say, and prints the id", async () => {
  const { sent, answers } = submits();
  await using coordinator = await fakeCoordinator(answers);
  const { home } = coordinator;
  const flags = "--selector gpu=a100 --env A=1=2 --cwd /srv --timeout 90s --retries 2 " +
    "--retry-delay 500ms --artifact out/* --idempotency-key k1 --array 3-5";
  const ran = await agent.run(["submit", ...flags.split(" "), "--", "echo", "--json", "-x"], {
    home,
  });
  assert.deepEqual([ran.code, ran.stdout, ran.stderr], [0, `${id}\n`, ""]);
  assert.deepEqual(sent[0], {
    spec: {
      argv: ["echo", "--json", "-x"],
      env: { A: "1=2" },
      cwd: "/srv",
      selector: { gpu: "a100" },
      timeoutMs: 90_000,
      retries: 2,
      retryDelayMs: 500,
      artifacts: ["out/*"],
    },
    options: { array: { first: 3, last: 5 }, idempotencyKey: "k1" },
  });
  const json = await agent.run(["submit", "--json", "--shell", "--", "echo", "$A", "|", "cat"], {
    home,
  });
  assert.equal(JSON.parse(json.stdout).id, id);
  assert.equal(JSON.parse(json.stdout).submitted_at, "1970-01-01T00:00:00.000Z");
  assert.deepEqual(sent[1]!.spec.argv, ["/bin/sh", "-c", "echo $A | cat"]);
});

Deno.test("submit exits with 2 for a wrong task, without dialling", async () => {
  const wrong = [
    ["--selector", "a b=c", "--", "true"],
    ["--env", "1A=x", "--", "true"],
    ["--env", "A", "--", "true"],
    ["--timeout", "5", "--", "true"],
    ["--artifact", "../x", "--", "true"],
    ["--array", "9-1", "--", "true"],
    ["--retries", "-1", "--", "true"],
    ["true"],
    [],
  ];
  for (const args of wrong) {
    // No one listens there: a command that dials would exit with 1.
    const ran = await agent.run(["submit", "--coordinators=127.0.0.1:1", ...args]);
    assert.equal(ran.code, 2, `${args.join(" ")}: ${ran.stderr}`);
    assert.match(ran.stderr, /^agent: .+\n/);
    assert.equal(ran.stdout, "");
  }
});

Deno.test("submit goes to the next coordinator where one cannot be reached, in one call", async () => {
  const { answers } = submits();
  const calls: string[] = [];
  await using coordinator = await fakeCoordinator({
    submit: (...args) => {
      calls.push("submit");
      return answers.submit!(...args);
    },
  });
  const to = ["--coordinators=127.0.0.1:1", `--coordinators=127.0.0.1:${coordinator.port}`];
  const ran = await agent.run(["submit", ...to, "--", "true"], { home: coordinator.home });
  assert.deepEqual([ran.code, ran.stdout], [0, `${id}\n`], ran.stderr);
  assert.deepEqual(calls, ["submit"], "nothing else is asked");
});

Deno.test("submit says that what is piped into it goes nowhere", async () => {
  await using coordinator = await fakeCoordinator(submits().answers);
  const { home } = coordinator;
  const piped = await agent.run(["submit", "--", "cat"], { home, stdin: "data" });
  assert.deepEqual([piped.code, piped.stdout], [0, `${id}\n`]);
  assert.equal(piped.stderr, "agent: standard input is not passed to the task (see --stdin)\n");
  assert.equal((await agent.run(["submit", "--", "cat"], { home })).stderr, "");
});

Deno.test("submit says that no coordinator answers", async () => {
  const ran = await agent.run(["submit", "--coordinators=127.0.0.1:1", "--json", "--", "true"]);
  assert.equal(ran.code, 1);
  const { error } = JSON.parse(ran.stderr);
  assert.equal(error.code, "unavailable");
  assert.match(error.message, /127\.0\.0\.1:1/);
  assert.match(error.next, /agent coordinator/);
});

Deno.test("submit --follow prints the output of the task live, and exits with its code", async () => {
  const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => i * 7 % 256);
  const { answers } = submits({ state: "failed", attempts: [anAttempt(1, { exitCode: 42 })] });
  const gate = Promise.withResolvers<void>();
  await using coordinator = await fakeCoordinator({
    ...answers,
    async *readLog() {
      yield piece("stdout", 0, bytes.slice(0, 40_000));
      yield piece("stderr", 0, new Uint8Array([0, 255, 10, 195]));
      await gate.promise;
      yield piece("stdout", 40_000, bytes.slice(40_000));
    },
  });
  await using run = startCommand(coordinator.home, "submit", "--follow", "--", "x");
  // The second half is written only after the first has arrived.
  await eventually(20_000, () => run.stdout().length === 40_000);
  gate.resolve();
  assert.equal(await run.code, 42);
  assert.deepEqual(run.stdout(), bytes);
  assert.equal(new TextDecoder().decode(run.stderr().slice(0, id.length + 1)), `${id}\n`);
  assert.deepEqual([...run.stderr().slice(id.length + 1)], [0, 255, 10, 195]);
});

Deno.test("submit --follow continues at the same byte when the coordinator is back", async () => {
  const encoder = new TextEncoder();
  const { answers } = submits({ state: "succeeded", attempts: [anAttempt(1)] });
  const never = Promise.withResolvers<void>();
  await using coordinator = await fakeCoordinator({
    ...answers,
    async *readLog() {
      yield piece("stdout", 0, encoder.encode("before "));
      await never.promise;
    },
  });
  await using run = startCommand(coordinator.home, "submit", "--follow", "--", "x");
  await eventually(20_000, () => run.stdout().length === 7);
  await coordinator.stop();
  never.resolve();
  await eventually(20_000, () => run.said().includes("waiting for the coordinator"));
  const asked: (number | undefined)[] = [];
  await coordinator.restart({
    ...answers,
    async *readLog({ stdoutOffset }) {
      asked.push(stdoutOffset);
      yield await Promise.resolve(piece("stdout", 7, encoder.encode("after")));
    },
  });
  assert.equal(await run.code, 0);
  assert.equal(new TextDecoder().decode(run.stdout()), "before after");
  assert.deepEqual(asked, [7]);
});

Deno.test("Ctrl-C detaches from a task, and says how to resume", async () => {
  const { answers } = submits({ state: "running", attempts: [anAttempt(1)] });
  const never = Promise.withResolvers<void>();
  await using coordinator = await fakeCoordinator({
    ...answers,
    async *readLog() {
      yield piece("stdout", 0, new Uint8Array([46]));
      await never.promise;
    },
  });
  await using run = startCommand(coordinator.home, "submit", "--follow", "--", "x");
  await eventually(20_000, () => run.stdout().length === 1);
  run.kill("SIGINT");
  assert.equal(await run.code, 130);
  assert.match(run.said(), new RegExp(`agent task logs ${id} --follow`));
  never.resolve();
});

Deno.test("submit --follow says that it detached when its stdout is closed", async () => {
  const { answers } = submits({ state: "running", attempts: [anAttempt(1)] });
  const never = Promise.withResolvers<void>();
  await using coordinator = await fakeCoordinator({
    ...answers,
    async *readLog() {
      for (let offset = 0;; offset += 5) {
        yield piece("stdout", offset, new TextEncoder().encode("line\n"));
        await Promise.race([never.promise, new Promise((done) => setTimeout(done, 20))]);
      }
    },
  });
  const ran = await agent.run(["submit", "--follow", "--", "x"], {
    home: coordinator.home,
    through: ["sh", "-c", '{ "$@"; echo $? >exit-code; } | head -n 1', "sh"],
  });
  never.resolve();
  assert.equal(ran.stdout, "line\n");
  assert.equal(await Deno.readTextFile(`${coordinator.home.path}/exit-code`), "141\n");
  assert.match(ran.stderr, new RegExp(`Detached.*\\n {2}agent task logs ${id} --follow`));
});

Deno.test("a submit whose answer is lost is sent again, under the same key", async () => {
  const { answers } = submits();
  const keys: (string | undefined)[] = [];
  await using coordinator = await fakeCoordinator({
    ...answers,
    submit(spec, options) {
      keys.push(options?.idempotencyKey);
      if (keys.length === 1) return Promise.reject(new TaskError("unavailable", "it stops"));
      return answers.submit!(spec, options);
    },
  });
  const ran = await agent.run(["submit", "--", "true"], { home: coordinator.home });
  assert.deepEqual([ran.code, ran.stdout], [0, `${id}\n`]);
  assert.match(ran.stderr, /waiting for the coordinator/);
  assert.equal(keys.length, 2);
  assert.equal(keys[0], keys[1]);
});

Deno.test("submit to one worker and to each, and says where no worker can ever match", async () => {
  const { sent, answers } = submits();
  await using coordinator = await fakeCoordinator({
    ...answers,
    listWorkers: () =>
      Promise.resolve([
        aWorker("gpu1", { labels: { gpu: "a100" } }),
        aWorker("gpu2", { labels: { gpu: "a100" } }),
        aWorker("gpu3", { labels: { gpu: "a100" }, draining: true }),
        aWorker("gpu4", { labels: { gpu: "a100" }, connected: false, health: "lost" }),
        aWorker("cpu1"),
      ]),
  });
  const submit = (line: string) =>
    agent.run(["submit", ...line.split(" "), "--", "true"], { home: coordinator.home });
  assert.deepEqual((await submit("--worker gpu4")).stderr, "");
  assert.deepEqual(sent.pop()?.spec.selector, { worker: "gpu4" });

  const each = await submit("--each --selector gpu=a100 --idempotency-key k");
  assert.equal(each.stdout, `${id}\n${id}\n`);
  assert.match(each.stderr, /gpu3 is drained/);
  assert.deepEqual(sent.splice(0).map(({ spec, options }) => [spec.selector, options]), [
    [{ gpu: "a100", worker: "gpu1" }, { idempotencyKey: "k gpu1" }],
    [{ gpu: "a100", worker: "gpu2" }, { idempotencyKey: "k gpu2" }],
  ]);

  const waits = await submit("--selector gpu=h100");
  assert.deepEqual([waits.code, waits.stdout, sent.splice(0).length], [0, `${id}\n`, 1]);
  assert.match(waits.stderr, /the task waits: No known worker has the label gpu=h100\n {2}next: /);
  const refused = await submit("--selector gpu=h100 --require-match");
  assert.deepEqual([refused.code, refused.stdout, sent.length], [1, "", 0]);
  assert.match(refused.stderr, /Nothing was submitted: No known worker/);
  assert.equal((await submit("--each --worker nowhere")).code, 1);
  assert.equal((await submit("--each --array 0-3")).code, 2);
});

Deno.test("a task for each line of a file or of standard input", async () => {
  const { sent, answers } = submits();
  await using coordinator = await fakeCoordinator(answers);
  const { home } = coordinator;
  const submit = (file: string, stdin = "", ...more: string[]) =>
    agent.run(["submit", "--each-line", file, ...more, "--", "true"], { home, stdin });
  const given = await submit("-", "a\r\n\nb");
  assert.deepEqual([given.code, given.stdout, given.stderr], [0, `${id}\n`, ""]);
  assert.deepEqual(sent.pop()?.options?.lines, ["a", "", "b"]);
  const file = join(home.path, "lines");
  const refused = async (content: string | Uint8Array<ArrayBuffer>, says: RegExp, code = 1) => {
    await Deno.writeFile(
      file,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    );
    const ran = await submit(file);
    assert.deepEqual([ran.code, ran.stdout], [code, ""]);
    assert.match(ran.stderr, says);
  };
  await refused("", /has no lines/);
  await refused(new Uint8Array([0xff, 10]), /is not text in UTF-8/);
  await refused("a\n".repeat(10_001), /more than 10000 lines/, 2);
  await refused("x".repeat(2 ** 21), /larger than/);
  assert.match((await submit(join(home.path, "none"))).stderr, /Cannot read the lines of ".*none"/);
  for (const other of ["--array=0-1", "--each", "--stdin"]) {
    assert.equal((await submit("-", "a", other)).code, 2, other);
  }
  assert.equal(sent.length, 0);
});

Deno.test("a task that must not run again is submitted so", async () => {
  const { sent, answers } = submits();
  await using coordinator = await fakeCoordinator(answers);
  const submit = (...words: string[]) =>
    agent.run(["submit", ...words, "--", "true"], { home: coordinator.home });
  await submit("--no-requeue");
  assert.equal(sent.pop()?.spec.noRequeue, true);
  assert.equal((await submit("--no-requeue", "--max-lost=2")).code, 2);
});

Deno.test("how long a task's worker may be out of touch is submitted with it", async () => {
  const { sent, answers } = submits();
  await using coordinator = await fakeCoordinator(answers);
  const submit = (...words: string[]) =>
    agent.run(["submit", ...words, "--", "true"], { home: coordinator.home });
  for (const [text, ms] of [["1h30m", 5_400_000], ["10s", 10_000], ["never", 0]] as const) {
    await submit(`--lost-after=${text}`);
    assert.equal(sent.pop()?.spec.lostAfterMs, ms);
  }
  await submit();
  assert.equal(sent.pop()?.spec.lostAfterMs, undefined);
  for (const text of ["0", "0s", "9s", "31d", "long", ""]) {
    const { code, stderr } = await submit(`--lost-after=${text}`);
    assert.equal(code, 2, text);
    assert.match(stderr, /duration|lost/, text);
  }
  assert.equal(sent.length, 0);
});

Deno.test("submit --stdin passes what is piped into it, up to a bound", async () => {
  const { sent, answers } = submits();
  await using coordinator = await fakeCoordinator(answers);
  const { home } = coordinator;
  const words = ["submit", "--stdin", "--", "cat"];
  const piped = await agent.run(words, { home, stdin: "data\0" });
  assert.deepEqual([piped.code, piped.stderr], [0, ""]);
  assert.deepEqual(sent[0]?.spec.stdin, new TextEncoder().encode("data\0"));
  const large = await agent.run(words, { home, stdin: "x".repeat(1024 * 1024 + 1) });
  assert.match(large.stderr, /longer than 1048576 bytes/);
  assert.equal(sent.length, 1);
});
