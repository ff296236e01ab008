/**
 * The tasks of a soak: each knows its own output and artifacts to the byte. No two pieces of them are
 * the same, so that one that is missing, doubled or at another's place is noticed.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type Task, type TaskSpec } from "../../src/tasks/task.ts";
import { type Cluster, tracedScript } from "./cluster.ts";

/** A task and its expected result; output that is not named is empty. */
export interface Expected {
  script: string;
  spec?: Partial<TaskSpec>;
  exitCode?: number;
  stdout?: string;
  stderr?: string;
  /** By path. */
  artifacts?: Record<string, string>;
}

export type Kind = (name: string, place: Place) => Expected;

export interface Place {
  /** Folder for the traces that tasks leave. */
  folder: string;
  /** Duration of the longest tasks. */
  longMs: number;
}

/** Lines as `seq -f 'TEXT %g' FIRST LAST` prints them. */
function lines(text: string, last: number, first = 1): string {
  let all = "";
  for (let at = first; at <= last; at++) all += `${text} ${at}\n`;
  return all;
}

const traceEveryMs = 250;

export const kinds: Record<string, Kind> = {
  short: (name) => ({ script: `echo ${name}`, stdout: `${name}\n` }),
  fails: (name) => ({ script: `echo ${name}; exit 7`, exitCode: 7, stdout: `${name}\n` }),
  talks: (name) => ({
    script: `seq -f '${name} %g' 5000; seq -f '${name}! %g' 3000 >&2`,
    stdout: lines(name, 5_000),
    stderr: lines(`${name}!`, 3_000),
  }),
  drips: (name) => ({
    script: `for i in $(seq 0 29); do seq -f '${name} %g' $((i * 300 + 1)) $((i * 300 + 300)); ` +
      `sleep 0.1; done`,
    stdout: lines(name, 9_000),
  }),
  lasts: (name, { folder }) => ({
    script: `${tracedScript(folder, 15, 0.1)}; echo ${name}`,
    stdout: `${name}\n`,
  }),
  // Longer than a lease where the soak is long enough: so an attempt that nobody ends meets the next.
  outlasts: (name, { folder, longMs }) => ({
    script: `seq -f '${name} %g' 100; ` +
      `${tracedScript(folder, Math.ceil(longMs / traceEveryMs), traceEveryMs / 1_000)}; ` +
      `seq -f '${name} %g' 101 200`,
    stdout: lines(name, 200),
  }),
  leaves: (name) => ({
    script: `mkdir out; seq -f '${name} a %g' 20000 >out/a; seq -f '${name} b %g' 100 >out/b; ` +
      `: >out/none`,
    spec: { artifacts: ["out/*"] },
    artifacts: {
      "out/a": lines(`${name} a`, 20_000),
      "out/b": lines(`${name} b`, 100),
      "out/none": "",
    },
  }),
  retries: (name, { folder }) => ({
    script: `mkdir ${join(folder, name)} 2>/dev/null && exit 1; echo ${name}`,
    // If a lost attempt made the folder, no attempt fails; if it made none, one more fails.
    spec: { retries: 3 },
    stdout: `${name}\n`,
  }),
};

/** @throws {assert.AssertionError} if a finished task is not as it is expected. */
export async function compare(
  { tasks }: Pick<Cluster, "tasks">,
  task: Task,
  name: string,
  expected: Expected,
): Promise<void> {
  const { exitCode = 0, stdout = "", stderr = "", artifacts = {} } = expected;
  const { attempt, exitCode: code } = task.attempts.at(-1)!;
  assert.equal(code, exitCode, `${name}: ${task.state}, ${task.reason}`);
  assert.equal(task.state, exitCode === 0 ? "succeeded" : "failed", name);
  const signal = AbortSignal.timeout(60_000);
  const query = { taskId: task.id, attempt };
  const streams = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  for await (const { stream, data } of tasks.readLog(query, signal)) streams[stream].push(data);
  await assertSame(streams.stdout, stdout, `stdout of ${name}`);
  await assertSame(streams.stderr, stderr, `stderr of ${name}`);
  const listed = await tasks.listArtifacts(task.id, attempt);
  assert.deepEqual(listed.map(({ path }) => path), Object.keys(artifacts), name);
  for (const { path } of listed) {
    const pieces: Uint8Array[] = [];
    for await (const { data } of tasks.readArtifact({ ...query, path }, signal)) pieces.push(data);
    await assertSame(pieces, artifacts[path]!, `artifact ${path} of ${name}`);
  }
}

async function assertSame(pieces: Uint8Array[], expected: string, what: string): Promise<void> {
  const text = await new Blob(pieces as Uint8Array<ArrayBuffer>[]).text();
  if (text === expected) return;
  let at = 0;
  while (text[at] === expected[at]) at++;
  assert.fail(`${what} has ${text.length} bytes of ${expected.length}, differs from ${at} on`);
}
