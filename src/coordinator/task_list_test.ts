import assert from "node:assert/strict";
import { inParts, OpenTasks, TaskList } from "./task_list.ts";

Deno.test("a list names each task once, and knows where it is", () => {
  const tasks = new TaskList();
  tasks.add("a", Uint32Array.of(1, 3, 10));
  tasks.add("b");
  tasks.add("a.3"); // Of the array.
  tasks.add("c.7");
  tasks.add("b");
  const ids = ["a.1", "a.3", "a.10", "b", "c.7"];
  assert.deepEqual([...tasks], ids);
  assert.equal(tasks.length, 5);
  ids.forEach((id, at) => assert.equal(tasks.positionOf(id), at, id));
  for (const id of ["a", "a.2", "a.11", "b.1", "c", "d", "a.x"]) {
    assert.equal(tasks.positionOf(id), undefined, id);
  }
  assert.deepEqual([...inParts(tasks, 2)], [["a.1", "a.3"], ["a.10", "b"], ["c.7"]]);
});

Deno.test("a list of one task is told from an array of one element", () => {
  const [task, array] = [new TaskList(), new TaskList()];
  task.add("a");
  array.add("a", Uint32Array.of(0));
  assert.deepEqual([task.isTask, array.isTask], [true, false]);
});

Deno.test("tasks of a list can be closed and opened again; others are not in it", () => {
  const tasks = new TaskList();
  tasks.add("a", Uint32Array.of(0, 1));
  const open = new OpenTasks(tasks, true);
  for (const id of ["a.0", "a.0", "a.5", "b"]) open.set(id, false);
  assert.deepEqual([open.size, open.has("a.0"), open.has("a.1"), open.has("b")], [
    1,
    false,
    true,
    false,
  ]);
  open.set("a.0", true);
  assert.equal(open.size, 2);
  const none = new OpenTasks(tasks, false);
  assert.deepEqual([none.size, none.has("a.0")], [0, false]);
});
