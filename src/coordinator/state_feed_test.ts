import assert from "node:assert/strict";
import { StateFeed } from "./state_feed.ts";

Deno.test("the watchers of state are bounded, and one that leaves makes room", () => {
  const feed = new StateFeed();
  const watchers = Array.from({ length: 20_000 }, (_, at) => feed.subscribe(`n${at % 10}`));
  assert.throws(() => feed.subscribe("n"), { code: "exhausted" });
  const [first] = watchers;
  first![Symbol.dispose]();
  first![Symbol.dispose]();
  const late = feed.subscribe("late");
  assert.throws(() => feed.subscribe("n"), { code: "exhausted" });
  feed.tell("late", "k");
  feed.tell("n0", "other");
  assert.deepEqual([...late.take()], ["k"]);
  assert.deepEqual([...watchers[10]!.take()], ["other"]);
  assert.deepEqual([...first!.take()], []);
});
