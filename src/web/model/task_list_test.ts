import assert from "node:assert/strict";
import type { TaskView } from "../views.ts";
import { compareNewestFirst, matchesText, TaskList } from "./task_list.ts";

function task(id: string, state: TaskView["state"] = "queued"): TaskView {
  const [array_id, index] = id.includes(".") ? id.split(".") : [null, null];
  const spec = { argv: ["make", "all"], selector: { gpu: "a100" } };
  const array_index = index === null ? null : Number(index);
  return {
    id,
    state,
    array_id,
    array_index,
    spec,
    attempts: [],
    reason: null,
  } as unknown as TaskView;
}

function ids(tasks: TaskView[]): string {
  return tasks.map(({ id }) => id).join(" ");
}

Deno.test("tasks are sorted newest first, elements of an array by number", () => {
  const tasks = ["b.2", "a", "b.10", "c"].map((id) => task(id));
  assert.equal(ids(tasks.sort(compareNewestFirst)), "c b.10 b.2 a");
});

Deno.test("changes go to their place, and those that do not match leave", () => {
  const list = new TaskList(["queued"], "");
  list.more.value = false;
  list.apply([task("b"), task("d")]);
  list.apply([task("c"), task("d", "running"), task("e", "failed")]);
  assert.equal(ids(list.tasks.value), "c b");
});

Deno.test("a task that is deleted leaves, whatever its state", () => {
  const list = new TaskList([], "");
  list.more.value = false;
  list.apply([task("b", "failed"), task("d"), task("c")]);
  list.apply([task("c", "failed")], ["d", "b", "unknown"]);
  assert.equal(ids(list.tasks.value), "c");
});

Deno.test("a task older than all that is loaded waits for its page", () => {
  const list = new TaskList([], "");
  list.tasks.value = [task("c"), task("b")];
  list.apply([task("a", "running"), task("b", "running")]);
  assert.equal(ids(list.tasks.value), "c b");
  assert.equal(list.tasks.value[1]!.state, "running");
});

Deno.test("a text is found in the command, the id, the state and the labels", () => {
  for (const text of ["MAKE", "b1", "queue", "gpu=a", ""]) assert.ok(matchesText(task("b1"), text));
  assert.ok(!matchesText(task("b1"), "other"));
});
