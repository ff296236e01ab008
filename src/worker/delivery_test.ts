/** What a worker sends where a coordinator has a part already, and where a disk has lost a part. */
import assert from "node:assert/strict";
import { temporaryFolder } from "../../tests/support/temporary.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import { systemClock } from "../base/clock.ts";
import { openSpool } from "../store/spool/spool.ts";
import { limits } from "../tasks/limits.ts";
import { TaskError, type WorkerService } from "../tasks/service.ts";
import type { AttemptResult } from "../tasks/task.ts";
import { deliver } from "./delivery.ts";
import { RunningAttempt } from "./running_attempt.ts";

const ref = { taskId: "t1", attempt: 1, fence: 7 };
const bytes = (text: string) => new TextEncoder().encode(text);

/** An attempt that has written this and ended, with its output in a spool on disk. */
async function finished(stdout: string, { lost = 0, files = [] as string[] } = {}) {
  const open = new AsyncDisposableStack();
  const { path } = open.use(await temporaryFolder());
  const spool = openSpool(path, silentLog);
  const key = "t1.1.7";
  {
    const file = spool.open(key, "stdout");
    file.append(bytes(stdout.slice(0, stdout.length - lost)));
    file.close();
  }
  const result: AttemptResult = {
    ...{ ref, state: "succeeded", exitCode: 0, signal: undefined, reason: undefined },
    ...{ startedAt: 0, finishedAt: 1, stdoutBytes: stdout.length, stderrBytes: 0 },
  };
  const collected = files.map((name) => ({
    ...{ path: name, file: `/${name}`, size: 10, mode: 0o644, sha256: "ab" },
  }));
  const starts = { stdout: 0, stderr: 0 };
  const attempt = RunningAttempt.restored(
    { key, lease: "c:1", result, starts, files: collected },
    spool,
  );
  open.defer(() => attempt.forget());
  return { attempt, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

/** A coordinator that has this much, and takes down what it gets. */
function coordinator(
  has: { stdout?: number; file?: number; refuses?: TaskError; damaged?: boolean },
) {
  const seen = { sent: [] as [number, string][], ends: [] as unknown[] };
  const text = (data: Uint8Array) => new TextDecoder().decode(data);
  const offsets = { stdout: has.stdout ?? 0, stderr: 0 };
  let offset = has.file ?? 0;
  const nothing = () => Promise.resolve();
  const service = {
    uploadLog: () =>
      Promise.resolve({
        offsets,
        append(_stream, at, data) {
          assert.ok(data.length > 0, "an empty piece would be sent without end");
          seen.sent.push([at, text(data)]);
          offsets.stdout = at + data.length;
          return Promise.resolve();
        },
        end: (lengths) => Promise.resolve(void seen.ends.push({ ...lengths })),
        [Symbol.asyncDispose]: nothing,
      }),
    uploadArtifact: () =>
      has.refuses !== undefined ? Promise.reject(has.refuses) : Promise.resolve({
        get offset() {
          return offset;
        },
        append(at, data) {
          seen.sent.push([at, text(data)]);
          offset = at + data.length;
          return Promise.resolve();
        },
        end(sha256) {
          seen.ends.push(sha256);
          if (!has.damaged) return Promise.resolve();
          offset = 0;
          return Promise.reject(new TaskError("invalid", "The checksum is wrong"));
        },
        [Symbol.asyncDispose]: nothing,
      }),
  } as Partial<WorkerService> as WorkerService;
  return { service, seen };
}

async function delivered(attempt: RunningAttempt, service: WorkerService): Promise<number> {
  let taken = 0;
  await deliver(attempt, {
    service,
    signal: AbortSignal.timeout(60_000),
    clock: systemClock,
    taken: (_attempt, _stream, bytes) => taken += bytes,
    smallFileBytes: 10,
    readFile: async function* () {
      for (const piece of ["012", "345", "6789"]) yield await Promise.resolve(bytes(piece));
    },
  });
  return taken;
}

Deno.test("only what the coordinator does not have is sent again, of output and of files", async () => {
  for (const [has, sent] of [[0, "0123456789"], [4, "456789"], [10, ""]] as const) {
    await using t = await finished("0123456789");
    const { service, seen } = coordinator({ stdout: has });
    await delivered(t.attempt, service);
    assert.deepEqual(seen.sent, sent === "" ? [] : [[has, sent]]);
    assert.deepEqual(seen.ends, [{ stdout: 10, stderr: 0 }]);
    assert.equal(t.attempt.result!.reason, undefined);
  }
  for (
    const [has, pieces] of [[0, ["012", "345", "6789"]], [4, ["45", "6789"]], [10, []]] as const
  ) {
    await using t = await finished("", { files: ["x"] });
    const { service, seen } = coordinator({ file: has });
    await delivered(t.attempt, service);
    assert.deepEqual(seen.sent.map(([, text]) => text), pieces);
    assert.equal(seen.sent[0]?.[0], pieces.length === 0 ? undefined : has);
    assert.deepEqual(seen.ends, ["ab"]);
    assert.deepEqual(t.attempt.files, []);
  }
});

Deno.test("of output that is shorter on the disk than its length, the rest is filled and told", async () => {
  for (const lost of [3, 10]) {
    await using t = await finished("0123456789", { lost });
    const { service, seen } = coordinator({});
    await delivered(t.attempt, service);
    const text = seen.sent.map(([, piece]) => piece).join("");
    assert.equal(text, "0123456789".slice(0, 10 - lost) + "?".repeat(lost));
    assert.deepEqual(seen.ends, [{ stdout: 10, stderr: 0 }]);
    assert.match(t.attempt.result!.reason!, new RegExp(`^${lost} bytes of its stdout were lost`));
  }
});

Deno.test("a coordinator that lost bytes which are gone here gets as many, and it is told", async () => {
  await using t = await finished("0123456789");
  t.attempt.outputs.stdout.release(6, 0);
  const { service, seen } = coordinator({ stdout: 2 });
  await delivered(t.attempt, service);
  assert.deepEqual(seen.sent, [[2, "????"], [6, "6789"]]);
  assert.deepEqual(seen.ends, [{ stdout: 10, stderr: 0 }]);
  assert.match(t.attempt.result!.reason!, /^4 bytes of its stdout were lost/);
});

Deno.test("what the coordinator has stored, the runner may send in its place", async () => {
  await using folder = await temporaryFolder();
  // Nothing may be in memory beyond the runner's window, so only storing it makes room.
  const attempt = new RunningAttempt(ref, undefined, 0, openSpool(folder.path, silentLog), 0);
  assert.equal(attempt.outputs.stdout.append(bytes("0123456789")), 0);
  attempt.neverRan("cancelled", 0, 0);
  const { service, seen } = coordinator({});
  assert.equal(await delivered(attempt, service), 10);
  assert.deepEqual(seen.sent, [[0, "0123456789"]]);
  attempt.forget();
});

Deno.test("a file that the coordinator refuses is named in the reason; one that fails is tried again", async () => {
  await using refused = await finished("", { files: ["x"] });
  const invalid = coordinator({ refuses: new TaskError("invalid", "That is no path") });
  await delivered(refused.attempt, invalid.service);
  assert.deepEqual(refused.attempt.files, []);
  assert.match(refused.attempt.result!.reason!, /^Artifact "x" was refused: That is no path$/);
  await using failed = await finished("", { files: ["x"] });
  for (const code of ["unavailable", "exhausted", "conflict"] as const) {
    const { service } = coordinator({ refuses: new TaskError(code, "Not now") });
    await assert.rejects(delivered(failed.attempt, service), { code });
    assert.equal(failed.attempt.files.length, 1);
  }
});

Deno.test("a file of which the coordinator had something wrong is sent again as a whole, once", async () => {
  for (
    const [has, sent] of [[4, ["45", "6789", "012", "345", "6789"]], [0, [
      "012",
      "345",
      "6789",
    ]]] as const
  ) {
    await using t = await finished("", { files: ["x"] });
    const { service, seen } = coordinator({ file: has, damaged: true });
    await delivered(t.attempt, service);
    assert.deepEqual(seen.sent.map(([, text]) => text), sent);
    assert.match(t.attempt.result!.reason!, /^Artifact "x" was refused: The checksum is wrong$/);
  }
});

Deno.test("small files go together, and those that the coordinator does not take are named in the reason", async () => {
  const paths = Array.from({ length: limits.maxSmallFiles + 1 }, (_, at) => `f${at}`);
  await using t = await finished("", { files: paths });
  const { service, seen } = coordinator({});
  const stored: string[][] = [];
  service.storeArtifacts = (_ref, files) => {
    stored.push(files.map(({ path }) => path));
    assert.equal(new TextDecoder().decode(files[0]!.data), "0123456789");
    return Promise.resolve(
      files.filter(({ path }) => path === "f7").map(({ path }) => {
        return { path, reason: "That is no path" };
      }),
    );
  };
  await delivered(t.attempt, service);
  assert.deepEqual(stored, [paths.slice(0, -1), paths.slice(-1)]);
  assert.deepEqual(seen.sent, []);
  assert.deepEqual(t.attempt.files, []);
  assert.match(t.attempt.result!.reason!, /^Artifact "f7" was refused: That is no path$/);
});
