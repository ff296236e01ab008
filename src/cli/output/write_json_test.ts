import assert from "node:assert/strict";
import type { Output } from "../../base/env.ts";
import { writeJson } from "./write_json.ts";

function recorder() {
  const writes: string[] = [];
  const output: Output = {
    isTerminal: false,
    isPipe: false,
    color: false,
    write: (data) => Promise.resolve(void writes.push(String(data))),
  };
  return { writes, output };
}

Deno.test("a result is written as the same document that JSON.stringify makes", async () => {
  const task = {
    id: "a",
    none: null,
    gone: undefined,
    env: { A: "two\nlines" },
    list: [1, [], {}],
  };
  for (
    const result of [
      {},
      null,
      "text",
      [],
      [task],
      { tasks: [] },
      { gone: undefined },
      { tasks: [task, task], more: false, totals: { failed: 1, by: [task] } },
      { first: 1, mixed: [null, undefined, "x", 2, true, { a: undefined }] },
    ]
  ) {
    const { writes, output } = recorder();
    await writeJson(output, result);
    assert.equal(writes.join(""), JSON.stringify(result, null, 2) + "\n");
  }
});

Deno.test("a list that is longer than any string is written", async () => {
  const scene = "s".repeat(1_000_000);
  let [bytes, longest] = [0, 0];
  const { output } = recorder();
  const counted: Output = {
    ...output,
    write: (data) =>
      Promise.resolve(longest = Math.max(longest, data.length))
        .then(() => void (bytes += data.length)),
  };
  const tasks = Array.from({ length: 1_000 }, (_, id) => ({ id, scene }));
  assert.throws(() => JSON.stringify({ tasks }), RangeError);
  await writeJson(counted, { tasks });
  assert.ok(bytes > 1_000_000_000, `${bytes} bytes`);
  assert.ok(longest < 2_000_000, `${longest} at once`);
});
